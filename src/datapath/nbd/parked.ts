// A connection that nobody uses needs no Node. After a while without a request it becomes a shell that waits for the first byte of
// the next one, and then becomes a connection again: 0.3 MiB instead of 11. It stays the same process all along, with the same
// socket, devices and pipe, so whatever ends it, takes it over or asks for it finds it as before; only its program changes.
//
// Not parked: the host's own disks (domain 0). What waits for them may be the host's memory, which must not have to be found first.

import { existsSync } from 'node:fs';
import type { Syscalls } from '../../host/syscalls.ts';
import { SOCKET_FD } from './spare-descriptors.ts';
import type { Export, Negotiated } from './wire/handshake.ts';

const SHELL = '/bin/bash';
/** Every request begins with this byte of its magic; a client that sends another, or leaves, is done with. Only bash reads one byte and no more. */
const FIRST_BYTE = '%';
const SCRIPT = `IFS= read -r -N 1 first && [ "$first" = ${FIRST_BYTE} ] && exec "$@"; exit 0`;

/** `rest`: what was read behind the handshake. */
export type Agreed = { readonly negotiated: Negotiated; readonly rest: Uint8Array };

export type Parked = {
  readonly folder: string;
  readonly exported: Export;
  /** So many from 0 on are kept. */
  readonly descriptors: number;
  readonly afterMs: number;
  readonly negotiated: Negotiated;
};

/** What a connection does when it has been idle for long; null when it is never parked. */
export function parkingOf(parked: Parked, syscalls: Syscalls): (() => void) | null {
  if (parked.afterMs === 0 || parked.exported.name.startsWith('0/') || !existsSync(SHELL)) return null;
  syscalls.limitReceiving(SOCKET_FD, parked.afterMs);
  return () => park(parked, syscalls);
}

/** Comes back only when there is no shell to be had: the connection then waits as it did, and is asked again. */
function park({ folder, descriptors, afterMs, negotiated: { structured, contexts } }: Parked, syscalls: Syscalls): void {
  for (let fd = 0; fd < descriptors; fd += 1) syscalls.keepOnExecute(fd);
  syscalls.limitReceiving(SOCKET_FD, 0);
  const again = [process.execPath, ...process.execArgv, process.argv[1] ?? '', folder, String(afterMs), JSON.stringify({ structured, contexts })];
  syscalls.execute(SHELL, ['bash', '--norc', '-c', SCRIPT, 'xvd-parked', ...again], process.env as Record<string, string>);
  syscalls.limitReceiving(SOCKET_FD, afterMs);
}

/** What an earlier program of this process had agreed on, and the byte that the shell has read. */
export function unparked(exported: Export, told: string): Agreed {
  const { structured, contexts } = JSON.parse(told) as Pick<Negotiated, 'structured' | 'contexts'>;
  return { negotiated: { exported, structured, contexts }, rest: Buffer.from(FIRST_BYTE) };
}
