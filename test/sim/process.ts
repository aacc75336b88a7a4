// A process of the simulation: every call of its ports goes through it, so that it can be killed or stopped at any of them,
// before the call or after it, and so that any of them can fail. Calls of one process and of others interleave by chance.

import { XvdError } from '../../src/base/error.ts';
import type { ErrorCode } from '../../src/base/error.ts';

/** What happens at the call of that number (the first is 1): the process dies, stops until it is woken, or the call fails. */
export type Fate = { readonly at: number; readonly what: 'kill' | 'stop' | 'fail'; readonly after: boolean };
export type Chance = (limit: number) => number;

/** Travels out of a transaction of a process that died in it; nobody else sees it. */
class Died extends Error {}

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

export class SimProcess {
  readonly died: Promise<void>;
  /** It died, or was stopped. */
  readonly rests: Promise<void>;
  readonly #end = Promise.withResolvers<void>();
  readonly #rest = Promise.withResolvers<void>();
  readonly #onDeath: (() => void)[] = [];
  readonly #chance: Chance;
  #fate: Fate | null;
  #calls = 0;
  #inTransaction = 0;
  #isDead = false;
  #stopped: PromiseWithResolvers<void> | null = null;

  constructor(chance: Chance, fate: Fate | null = null) {
    this.#chance = chance;
    this.#fate = fate;
    this.died = this.#end.promise;
    this.rests = this.#rest.promise;
  }

  get isDead(): boolean {
    return this.#isDead;
  }
  get isStopped(): boolean {
    return this.#stopped !== null;
  }
  /** Calls so far, since the last `meet`. */
  get calls(): number {
    return this.#calls;
  }

  /** From here on that is its fate, counted from its next call. */
  meet(fate: Fate | null): void {
    this.#calls = 0;
    this.#fate = fate;
  }

  /** Whatever it holds open is closed by its death. */
  onDeath(close: () => void): void {
    this.#onDeath.push(close);
  }

  kill(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    for (const close of this.#onDeath) close();
    this.#end.resolve();
    this.#rest.resolve();
  }

  wake(): void {
    this.#stopped?.resolve();
    this.#stopped = null;
  }

  /** One call of a port. `code`: with what it fails; null = it never does. */
  async call<T>(body: () => Promise<T>, code: ErrorCode | null): Promise<T> {
    await this.#turn();
    this.#calls += 1;
    const fate = this.#fate?.at === this.#calls ? this.#fate : null;
    if (fate !== null && !fate.after) await this.#suffer(fate, code);
    let result: T;
    try {
      result = await body();
    } catch (error) {
      if (this.#isDead) return never();
      throw error;
    }
    if (this.#isDead) return never();
    if (fate !== null && fate.after) await this.#suffer(fate, code);
    return result;
  }

  /** A transaction is undone when its process dies in it; a process does not stop in one, or all others would wait. */
  async inTransaction<T>(body: () => Promise<T>): Promise<T> {
    this.#inTransaction += 1;
    try {
      const dies = this.died.then((): never => {
        throw new Died();
      });
      dies.catch(() => undefined);
      return await Promise.race([body(), dies]);
    } finally {
      this.#inTransaction -= 1;
    }
  }

  /** Others go first, by chance. */
  async #turn(): Promise<void> {
    for (let turns = this.#chance(4); turns > 0; turns -= 1) await Promise.resolve();
    if (this.#stopped !== null && this.#inTransaction === 0) await this.#stopped.promise;
    if (this.#isDead) await never();
  }

  async #suffer({ what }: Fate, code: ErrorCode | null): Promise<void> {
    if (what === 'kill') {
      this.kill();
      await never();
    }
    if (what === 'stop' && this.#inTransaction === 0) {
      this.#stopped ??= Promise.withResolvers<void>();
      this.#rest.resolve();
      await this.#stopped.promise;
      if (this.#isDead) await never();
    }
    if (what === 'fail' && code !== null) throw new XvdError(code, 'planned by the simulation');
  }
}
