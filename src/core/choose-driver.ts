// Which kind of data path a new VBD gets: device-mapper where it can serve, else NBD; and for one source always the same kind,
// since two caches over the same sectors are never in use at once.

import type { CacheMode, Driver } from './types.ts';

export type DriverFacts = {
  readonly wanted: 'auto' | Driver;
  /** What this host has, preferred first. */
  readonly here: readonly Driver[];
  /** No hypervisor takes it: its consumer connects to the uri by itself. */
  readonly consumerConnects: boolean;
  /** Of another VBD of the same source here. */
  readonly inUse: Driver | null;
  readonly devices: readonly { readonly path: string; readonly kind: 'block' | 'file'; readonly blockBytes: 512 | 4096 }[];
  /** Of the disk. */
  readonly blockBytes: 512 | 4096;
  readonly filtered: boolean;
  /** null = nobody asked for one. */
  readonly cache: CacheMode | null;
};

export type DriverChoice =
  | { readonly kind: 'chosen'; readonly driver: Driver }
  /** `busy`: another kind is in use; else this host or this source can't. */
  | { readonly kind: 'refused'; readonly busy: boolean; readonly reason: string };

export function chooseDriver(facts: DriverFacts): DriverChoice {
  const { wanted, here, inUse } = facts;
  const candidates = wanted === 'auto' ? here : here.filter((driver) => driver === wanted);
  const reasons: string[] = [];
  for (const driver of candidates) {
    const reason = driver === 'dm' ? whyNotDm(facts) : null;
    if (reason !== null) {
      reasons.push(reason);
      continue;
    }
    if (inUse === null || inUse === driver) return { kind: 'chosen', driver };
    if (wanted !== 'auto') return { kind: 'refused', busy: true, reason: `it is attached by ${nameOf(inUse)} already` };
  }
  if (inUse !== null && candidates.includes(inUse)) return { kind: 'refused', busy: true, reason: `it is attached by ${nameOf(inUse)}: ${reasons.join('; ')}` };
  return { kind: 'refused', busy: false, reason: reasons[0] ?? `this host has no ${wanted === 'auto' ? 'data path' : nameOf(wanted)}` };
}

const nameOf = (driver: Driver): string => (driver === 'dm' ? 'device-mapper' : 'NBD data path');

function whyNotDm({ consumerConnects, devices, blockBytes, filtered, cache }: DriverFacts): string | null {
  if (consumerConnects) return 'a consumer that connects by itself does so over NBD';
  const file = devices.find(({ kind }) => kind === 'file');
  if (file !== undefined) return `device-mapper can't stand on the regular file ${file.path}`;
  if (filtered) return 'device-mapper knows no --limit, --delay or --faults';
  if (cache === 'writeback') return 'device-mapper has no cache of its own (--cache writeback)';
  const seen = Math.max(512, ...devices.map((device) => device.blockBytes));
  return seen === blockBytes ? null : `by device-mapper it would have blocks of ${seen} bytes, and not ${blockBytes}`;
}
