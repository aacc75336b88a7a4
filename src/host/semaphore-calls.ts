// System V semaphores: by them the rules that device-mapper brings to udev tell that they are done with a device.

import { loadKoffi, negativeErrno } from './koffi.ts';
import type { Foreign } from './koffi.ts';

const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const IPC_RMID = 0;
const SETVAL = 16;
const OWNER_ONLY = 0o600;
const EINTR = 4;

export type Semaphores = {
  /** A new one under that key; its id, or -errno (-17: the key is taken). */
  create(key: number, value: number): number;
  /** Who waits for it is woken. 0 or -errno. */
  remove(id: number): number;
  /** Waits on a thread of its own until somebody has counted it down: 0, or -errno (-11: not in that time). */
  zero(id: number, timeoutMs: number): Promise<number>;
};

/** null where koffi has no binary for this machine. */
export function openSemaphores(): Semaphores | null {
  const koffi = loadKoffi();
  if (koffi === null) return null;
  const libc = koffi.load('libc.so.6');
  const semget = libc.func('int semget(int key, int count, int flags)');
  const semctl = libc.func('int semctl(int id, int index, int command, long value)');
  const semtimedop = libc.func('int semtimedop(int id, _In_ int16_t *operations, size_t count, _In_ int64_t *timeout)');
  const answer = (result: number): number => negativeErrno(koffi, result);
  return {
    create(key, value) {
      const id = answer(semget(key, 1, IPC_CREAT | IPC_EXCL | OWNER_ONLY));
      if (id < 0) return id;
      const set = answer(semctl(id, 0, SETVAL, value));
      return set < 0 ? set : id;
    },
    remove: (id) => answer(semctl(id, 0, IPC_RMID, 0)),
    async zero(id, timeoutMs) {
      // Number, operation (0 = wait for zero) and flags; seconds and nanoseconds.
      const operation = new Int16Array(3);
      const timeout = BigInt64Array.of(BigInt(Math.floor(timeoutMs / 1000)), BigInt((timeoutMs % 1000) * 1_000_000));
      for (;;) {
        const result = await onThread(semtimedop, [id, operation, 1, timeout], answer);
        if (result !== -EINTR) return result;
      }
    },
  };
}

function onThread(call: Foreign, args: readonly unknown[], answer: (result: number) => number): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: Error | null, result: number) => {
      // The thread reads this memory: it is named here so that it is not collected before.
      void args.length;
      if (error === null) resolve(answer(result));
      else reject(error);
    });
  });
}
