// System V semaphores: by them the rules that device-mapper brings to udev tell that they are done with a device. None of these calls
// waits: a wait would take one of the few threads that all of Node's file calls share.

import type { Libc } from './koffi.ts';

const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const IPC_RMID = 0;
const GETVAL = 12;
const SETVAL = 16;
const OWNER_ONLY = 0o600;

export type SemaphoreCalls = {
  /** A new one under that key; its id, or -errno (-17: the key is taken). */
  makeSemaphore(key: number, value: number): number;
  /** How far it has been counted down; -errno (-22 and -43: there is none, somebody removed it). */
  semaphoreValue(id: number): number;
  /** 0 or -errno. */
  removeSemaphore(id: number): number;
};

export function bindSemaphores(libc: Libc, answer: (result: number) => number): SemaphoreCalls {
  const semget = libc.func('int semget(int key, int count, int flags)');
  const semctl = libc.func('int semctl(int id, int index, int command, long value)');
  return {
    makeSemaphore(key, value) {
      const id = answer(semget(key, 1, IPC_CREAT | IPC_EXCL | OWNER_ONLY));
      if (id < 0) return id;
      const set = answer(semctl(id, 0, SETVAL, value));
      if (set < 0) semctl(id, 0, IPC_RMID, 0);
      return set < 0 ? set : id;
    },
    semaphoreValue: (id) => answer(semctl(id, 0, GETVAL, 0)),
    removeSemaphore: (id) => answer(semctl(id, 0, IPC_RMID, 0)),
  };
}
