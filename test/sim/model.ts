// What each disk must read as, block by block: the last stamp that was written through any VBD of it, or zeros (I4). After a
// crash of the host what nobody had flushed may be there or not; what was flushed, or settled by a detach, must be (I5).

import type { Generation } from '../../src/core/types.ts';

export const BLOCK = 4096;

type Block = {
  now: number;
  /** What a crash may bring back. */
  before: number[];
  writers: Set<Generation>;
};

export class Model {
  readonly #disks = new Map<number, Map<number, Block>>();

  write(disk: number, block: number, stamp: number, by: { readonly generation: Generation; readonly direct: boolean }): void {
    const known = this.#block(disk, block) ?? { now: 0, before: [], writers: new Set() };
    const before = by.direct ? [] : [...known.before, known.now];
    const blocks = this.#disks.get(disk) ?? new Map<number, Block>();
    this.#disks.set(disk, blocks.set(block, { now: stamp, before, writers: by.direct ? new Set() : known.writers.add(by.generation) }));
  }

  flushed(disk: number, generation: Generation): void {
    for (const block of this.#disks.get(disk)?.values() ?? []) if (block.writers.has(generation)) durable(block);
  }

  /** Nothing can reach the disk any more: all that was written has landed. */
  fenced(disk: number): void {
    for (const block of this.#disks.get(disk)?.values() ?? []) durable(block);
  }

  /** Whether the block may read so; what was seen stays. */
  reads(disk: number, block: number, found: number): boolean {
    const known = this.#block(disk, block);
    if (known === undefined) return found === 0;
    return known.now === found;
  }

  /** `look` tells what is there now, where a crash leaves a choice. */
  hostCrashed(look: (disk: number, block: number) => number | null): void {
    for (const [disk, blocks] of this.#disks) {
      for (const [at, block] of blocks) {
        const found = block.before.length === 0 ? null : look(disk, at);
        if (found !== null && block.before.includes(found)) block.now = found;
        durable(block);
      }
    }
  }

  #block(disk: number, block: number): Block | undefined {
    return this.#disks.get(disk)?.get(block);
  }
}

function durable(block: Block): void {
  block.before = [];
  block.writers.clear();
}
