// dmsetup: one function for each command line. Tables go through standard input, so that thousands of targets fit.

import { readFileSync } from 'node:fs';
import { limits } from '../../base/limits.ts';
import type { ProgramResult, Programs } from '../../host/programs.ts';

export type NewDevice = { readonly name: string; readonly uuid: string; readonly readOnly: boolean; readonly table: string };

export type Dmsetup = {
  /** Made, loaded and live when it returns, with its node in /dev/mapper. */
  create(device: NewDevice): Promise<void>;
  /** Every device of the host, with a table or without. */
  list(): Promise<readonly { readonly name: string; readonly uuid: string }[]>;
  /** How often it is open now: once for a mount or for all of a guest's requests. */
  openCount(name: string): Promise<number>;
  /** The live table, in the words of `tableOf`. */
  table(name: string): Promise<string>;
  /** Loads a table beside the live one. */
  load(name: string, table: string, readOnly: boolean): Promise<void>;
  /** Drops a table that was loaded and is not live. */
  clear(name: string): Promise<void>;
  /** Makes a loaded table live: waits for what is under way, but freezes no filesystem, and pushes out nothing that is queued. */
  resume(name: string): Promise<void>;
  /** Fails while somebody has it open; with `deferred` it then goes when the last one closes it. */
  remove(name: string, options?: { readonly deferred: boolean }): Promise<void>;
  makeNode(name: string): Promise<void>;
};

export function openDmsetup(programs: Programs): Dmsetup {
  const run = (args: readonly string[], input = '', timeoutMs: number = limits.programMs): Promise<ProgramResult> =>
    programs.run('dmsetup', args, { input, timeoutMs, env: udevRuns() ? {} : { DM_DISABLE_UDEV: '1' } });
  const readOnlyFlag = (readOnly: boolean): readonly string[] => (readOnly ? ['--readonly'] : []);
  return {
    create: async ({ name, uuid, readOnly, table }) => void (await run(['create', name, '--uuid', uuid, ...readOnlyFlag(readOnly)], table)),
    list: async () => parseList((await run(['info', '-c', '--noheadings', '--separator', ' ', '-o', 'name,uuid'])).stdout),
    openCount: async (name) => Number((await run(['info', '-c', '--noheadings', '-o', 'open', name])).stdout),
    table: async (name) => (await run(['table', name])).stdout,
    load: async (name, table, readOnly) => void (await run(['load', name, ...readOnlyFlag(readOnly)], table)),
    clear: async (name) => void (await run(['clear', name])),
    resume: async (name) => void (await run(['resume', '--noflush', '--nolockfs', name], '', limits.fenceMs)),
    remove: async (name, options) => void (await run(['remove', ...(options?.deferred === true ? ['--deferred'] : []), name])),
    makeNode: async (name) => void (await run(['mknodes', name])),
  };
}

/** `NAME UUID` a line; without any device one line that says so, and a device without a UUID has only its name. */
function parseList(text: string): readonly { readonly name: string; readonly uuid: string }[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', uuid = '', more] = line.trim().split(' ');
    return uuid === '' || more !== undefined ? [] : [{ name, uuid }];
  });
}

/** Somebody listens on udev's socket; its file alone outlives it. Without udev, dmsetup makes the nodes, and waits for nobody. */
export function udevRuns(): boolean {
  try {
    return / \/run\/udev\/control$/m.test(readFileSync('/proc/net/unix', 'utf8'));
  } catch {
    return false;
  }
}
