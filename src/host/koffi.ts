// What is used of koffi, typed; it is loaded only here, so that all works without it where it has no binary.

import { createRequire } from 'node:module';

export type Foreign = ((...args: unknown[]) => number) & { async(...args: unknown[]): void };

export type Libc = { func(signature: string): Foreign };

export type Koffi = {
  load(path: string): Libc;
  errno(): number;
  address(pointer: unknown): bigint;
  view(pointer: unknown, length: number): ArrayBuffer;
};

/**
 * null where koffi has no binary for this machine. Its binary is a package of its own, found from where koffi is, and all that is used here; koffi's module around it loads
 * streams, workers and a parser of arguments (11 of 18 ms, and memory that each connection process would keep).
 */
export function loadKoffi(): Koffi | null {
  const require = createRequire(import.meta.url);
  try {
    const from = createRequire(require.resolve('koffi'));
    try {
      return from(`@koromix/koffi-${process.platform}-${process.arch}`) as Koffi;
    } catch {
      return require('koffi') as Koffi;
    }
  } catch {
    return null;
  }
}

/** A call that failed gives -errno. */
export const negativeErrno = (koffi: Koffi, result: number): number => (result < 0 ? -koffi.errno() : result);

/** MAP_FAILED is all ones. */
export const mapFailed = (koffi: Koffi, pointer: unknown): boolean => pointer === null || koffi.address(pointer) === 0xffff_ffff_ffff_ffffn;
