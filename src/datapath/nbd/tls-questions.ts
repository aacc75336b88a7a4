// What a connection over TLS asks the daemon, before it serves: which VBDs its client may open, and then one of them. One line
// of JSON each way, over the socket between the two; the answer to the second carries the VBD's descriptors.

import { closeSync, writeSync } from 'node:fs';
import type { Syscalls } from '../../host/syscalls.ts';
import { CONTROL_FD, placeDescriptors } from './spare-descriptors.ts';

export type Question = { readonly names: readonly string[]; readonly open: string | null };
/** Folders of VBDs; of `open`, the one that was opened, or none. */
export type Answer = { readonly folders: readonly string[] };

/** The process of an older daemon that has ended is told nothing any more. */
export function askDaemon(syscalls: Syscalls, names: readonly string[]): readonly string[] {
  return ask(syscalls, { names, open: null })?.folders ?? [];
}

/** Its folder, when the process has it and may serve; null when it is gone, or was never this client's. */
export function takeVbd(syscalls: Syscalls, names: readonly string[], exportName: string): string | null {
  const answer = ask(syscalls, { names, open: exportName });
  const [folder] = answer?.folders ?? [];
  if (answer === null || folder === undefined) return null;
  const [log, alive, ...devices] = answer.descriptors;
  if (log === undefined || alive === undefined || !placeDescriptors(syscalls, { log, alive, devices })) return null;
  for (const fd of answer.descriptors) closeSync(fd);
  closeSync(CONTROL_FD);
  return folder;
}

function ask(syscalls: Syscalls, question: Question): (Answer & { readonly descriptors: readonly number[] }) | null {
  syscalls.makeBlocking(CONTROL_FD);
  writeSync(CONTROL_FD, `${JSON.stringify(question)}\n`);
  const told = syscalls.receiveDescriptors(CONTROL_FD);
  return told === null ? null : { ...(JSON.parse(Buffer.from(told.message).toString()) as Answer), descriptors: told.descriptors };
}
