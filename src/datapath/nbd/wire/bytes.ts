// Big-endian numbers in buffers, for the path of every request: Buffer's own methods check their arguments in a way that makes
// objects, and a copy of eight bytes by Buffer.copy is a call into C++.

export const get16 = (from: Uint8Array, at: number): number => ((from[at] ?? 0) << 8) | (from[at + 1] ?? 0);

export const get32 = (from: Uint8Array, at: number): number =>
  (((from[at] ?? 0) << 24) | ((from[at + 1] ?? 0) << 16) | ((from[at + 2] ?? 0) << 8) | (from[at + 3] ?? 0)) >>> 0;

export function put16(to: Uint8Array, at: number, value: number): void {
  to[at] = value >>> 8;
  to[at + 1] = value;
}

/** The low 32 bits. */
export function put32(to: Uint8Array, at: number, value: number): void {
  to[at] = value >>> 24;
  to[at + 1] = value >>> 16;
  to[at + 2] = value >>> 8;
  to[at + 3] = value;
}

/** What a request and its answer know each other by. */
export function copyCookie(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number): void {
  for (let index = 0; index < 8; index += 1) to[toAt + index] = from[fromAt + index] ?? 0;
}
