// A catalog in memory: the model that others are compared with, and good enough to run the whole product on.

import type { Random } from '../../base/clock.ts';
import { invariant } from '../../base/invariant.ts';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Catalog, CatalogReader, CatalogWriter } from '../catalog.ts';
import { keepImages, storeImages } from './history.ts';
import { memoryReader } from './memory-reader.ts';
import { memoryWriter } from './memory-writer.ts';
import { copyState, emptyState, misplaced } from './state.ts';
import type { State } from './state.ts';

export type MemoryCatalogOptions = { readonly random: Random; readonly eventsKept?: number };

/** Also opens what its backup() kept. */
export type MemoryCatalogHandle = Catalog & { openCopy(path: string): Promise<Catalog> };

export async function openMemoryCatalog(options: MemoryCatalogOptions): Promise<MemoryCatalogHandle> {
  return new MemoryCatalog(options);
}

class MemoryCatalog implements MemoryCatalogHandle {
  readonly #eventsKept: number;
  readonly #backups = new Map<string, State>();
  #state: State;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor({ random, eventsKept = limits.events }: MemoryCatalogOptions) {
    this.#state = emptyState(random.uuid());
    this.#eventsKept = eventsKept;
  }

  async read<T>(body: (reader: CatalogReader) => Promise<T>): Promise<T> {
    invariant(!this.#closed, 'the catalog is open');
    const lease = alive(this.#state);
    return body(memoryReader(lease.state, this.#eventsKept)).finally(lease.end);
  }

  async write<T>(body: (writer: CatalogWriter) => Promise<T>): Promise<T> {
    invariant(!this.#closed, 'the catalog is open');
    const turn = this.#queue.then(() => this.#write(body));
    this.#queue = turn.catch(() => {});
    return turn;
  }

  async #write<T>(body: (writer: CatalogWriter) => Promise<T>): Promise<T> {
    const copy = copyState(this.#state);
    const lease = alive(copy);
    const reader = memoryReader(lease.state, this.#eventsKept);
    const keeper = keepImages(lease.state, memoryWriter(lease.state, reader, this.#eventsKept));
    const result = await body(keeper.writer).finally(lease.end);
    const [problem] = misplaced(copy);
    invariant(problem === undefined, problem ?? '');
    copy.commitNumber += 1;
    storeImages(copy, keeper.images, this.#eventsKept);
    this.#state = copy;
    return result;
  }

  async changeMark(): Promise<number> {
    return this.#state.commitNumber;
  }

  /** Kept inside: there is no file. */
  async backup(path: string): Promise<void> {
    if (this.#backups.has(path)) throw new XvdError('VALUE_INVALID', `${path} exists already`, { fix: 'Name a file that does not exist yet.' });
    this.#backups.set(path, copyState(this.#state));
  }

  async openCopy(path: string): Promise<Catalog> {
    const kept = this.#backups.get(path);
    if (kept === undefined) throw new XvdError('FILE_NOT_FOUND', `there is no file ${path}`);
    const copy = new MemoryCatalog({ random: { uuid: () => kept.catalogId, integer: () => 0 }, eventsKept: this.#eventsKept });
    copy.#state = copyState(kept);
    return copy;
  }

  async selfCheck(): Promise<readonly string[]> {
    return misplaced(this.#state);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#queue;
  }
}

/** The state, as long as its transaction lives. */
function alive(state: State): { state: () => State; end: () => void } {
  let over = false;
  return {
    state: () => {
      invariant(!over, 'the transaction of the catalog is over: its object is dead');
      return state;
    },
    end: () => {
      over = true;
    },
  };
}
