// Whether reads come from the page cache or wait for the device, judged by what the last ones took: what is worth its cost
// for slow reads (asking the kernel to begin them ahead) would slow cached ones.

/** A cached read takes a few microseconds and about 0.1 ms a MiB; a device that answers sooner than this needs no help. */
const SLOW_US = 50;
const US_PER_BYTE = 400 / (1024 * 1024);
const REMEMBERED = 64;

/** Whether a request of so many bytes that took so many microseconds waited for its device. */
export const waitedForDevice = (us: number, length: number): boolean => us > SLOW_US + length * US_PER_BYTE;

export type Coldness = {
  /** A read that was waited for, for so many microseconds. */
  took(us: number, length: number): void;
  /** A read that was begun ahead, and was not there at once. */
  found(late: boolean): void;
  cold(): boolean;
};

export function makeColdness(): Coldness {
  let score = 0;
  const found = (slow: boolean): void => {
    // A slow read counts for eight: one miss in eight reads is enough to stay.
    if (slow) score = Math.min(REMEMBERED, score + 8);
    else if (score > 0) score -= 1;
  };
  return {
    took: (us, length) => found(waitedForDevice(us, length)),
    found,
    // One slow read alone is the scheduler, not the device.
    cold: () => score > 16,
  };
}
