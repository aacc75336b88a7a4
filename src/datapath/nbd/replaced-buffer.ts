// The buffers of a connection change their size with what is asked.

/** A buffer that had to grow past this goes back at once: what one large request needed is not held for the next. */
export const KEPT_BYTES = 1280 * 1024;

/** A buffer of another size with the first `kept` bytes. The old one's memory goes back now, and not when V8 next looks. */
export function replaced(old: Buffer, bytes: number, kept: number): Buffer {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  old.copy(buffer, 0, 0, kept);
  (old.buffer as ArrayBuffer).transfer(0);
  return buffer;
}
