// Bytes of a simulated device, kept sparsely, with a page cache before them: what is written stays dirty in the cache until it
// is flushed, settled, or lands by itself at the worst moment.

const PAGE_BYTES = 4096;

export class PageStore {
  readonly sizeBytes: number;
  #device = new Map<number, Uint8Array>();
  #dirty = new Map<number, Uint8Array>();
  #clean = new Map<number, Uint8Array>();

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  /** As a guest's data path with a cache does. */
  writeCached(offsetBytes: number, data: Uint8Array): void {
    this.#write(offsetBytes, data, (index) => {
      const page = (this.#dirty.get(index) ?? this.#clean.get(index) ?? this.#device.get(index) ?? new Uint8Array(PAGE_BYTES)).slice();
      this.#clean.delete(index);
      this.#dirty.set(index, page);
      return page;
    });
  }

  /** Direct: past the cache, whose pages there are dropped. */
  writeDirect(offsetBytes: number, data: Uint8Array): void {
    this.flush(offsetBytes, data.length);
    this.drop(offsetBytes, data.length);
    this.#write(offsetBytes, data, (index) => {
      const page = (this.#device.get(index) ?? new Uint8Array(PAGE_BYTES)).slice();
      this.#device.set(index, page);
      return page;
    });
  }

  readCached(offsetBytes: number, lengthBytes: number): Uint8Array {
    return this.#read(offsetBytes, lengthBytes, (index) => {
      const cached = this.#dirty.get(index) ?? this.#clean.get(index);
      if (cached !== undefined) return cached;
      const page = this.#device.get(index);
      if (page !== undefined) this.#clean.set(index, page.slice());
      return page;
    });
  }

  /** What the device itself holds. */
  readDirect(offsetBytes: number, lengthBytes: number): Uint8Array {
    return this.#read(offsetBytes, lengthBytes, (index) => this.#device.get(index));
  }

  /** Writes back what is dirty in the range; the pages stay in the cache. */
  flush(offsetBytes: number, lengthBytes: number): void {
    for (const index of this.#pagesIn(this.#dirty, offsetBytes, lengthBytes)) this.#land(index);
  }

  /** Drops what is clean in the range. */
  drop(offsetBytes: number, lengthBytes: number): void {
    for (const index of this.#pagesIn(this.#clean, offsetBytes, lengthBytes)) this.#clean.delete(index);
  }

  cachedPages(offsetBytes: number, lengthBytes: number): number {
    return this.#pagesIn(this.#dirty, offsetBytes, lengthBytes).length + this.#pagesIn(this.#clean, offsetBytes, lengthBytes).length;
  }

  /** The kernel writes back dirty pages whenever it likes: those that `chosen` picks land now. */
  landSome(chosen: (page: number) => boolean): void {
    for (const index of [...this.#dirty.keys()]) if (chosen(index)) this.#land(index);
  }

  /** The host crashed: what had not reached the device is gone. */
  loseCache(): void {
    this.#dirty.clear();
    this.#clean.clear();
  }

  #land(index: number): void {
    const page = this.#dirty.get(index);
    if (page === undefined) return;
    this.#dirty.delete(index);
    this.#device.set(index, page);
    this.#clean.set(index, page.slice());
  }

  #pagesIn(pages: ReadonlyMap<number, Uint8Array>, offsetBytes: number, lengthBytes: number): number[] {
    const first = Math.floor(offsetBytes / PAGE_BYTES);
    const end = Math.ceil((offsetBytes + lengthBytes) / PAGE_BYTES);
    return [...pages.keys()].filter((index) => index >= first && index < end);
  }

  #write(offsetBytes: number, data: Uint8Array, pageFor: (index: number) => Uint8Array): void {
    for (let done = 0; done < data.length;) {
      const at = offsetBytes + done;
      const size = Math.min(PAGE_BYTES - (at % PAGE_BYTES), data.length - done);
      pageFor(Math.floor(at / PAGE_BYTES)).set(data.subarray(done, done + size), at % PAGE_BYTES);
      done += size;
    }
  }

  #read(offsetBytes: number, lengthBytes: number, pageFor: (index: number) => Uint8Array | undefined): Uint8Array {
    const result = new Uint8Array(lengthBytes);
    for (let done = 0; done < lengthBytes;) {
      const at = offsetBytes + done;
      const size = Math.min(PAGE_BYTES - (at % PAGE_BYTES), lengthBytes - done);
      const page = pageFor(Math.floor(at / PAGE_BYTES));
      if (page !== undefined) result.set(page.subarray(at % PAGE_BYTES, (at % PAGE_BYTES) + size), done);
      done += size;
    }
    return result;
  }

  /** Zeros of any length cost nothing. */
  zero(offsetBytes: number, lengthBytes: number): void {
    this.flush(offsetBytes, lengthBytes);
    this.drop(offsetBytes, lengthBytes);
    for (const index of this.#pagesIn(this.#device, offsetBytes, lengthBytes)) {
      const start = Math.max(offsetBytes, index * PAGE_BYTES);
      const end = Math.min(offsetBytes + lengthBytes, (index + 1) * PAGE_BYTES);
      if (end - start === PAGE_BYTES) this.#device.delete(index);
      else
        this.#device.set(
          index,
          this.#device
            .get(index)!
            .slice()
            .fill(0, start - index * PAGE_BYTES, end - index * PAGE_BYTES),
        );
    }
  }
}
