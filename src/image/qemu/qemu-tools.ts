// The command lines of qemu-img that copies are made of. Each ends with this process, however that ends: setpriv
// asks the kernel for it.

import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Programs, ProgramResult, RunOptions } from '../../host/programs.ts';
import type { CopyWatch } from '../image.ts';

export type QemuTools = {
  info(name: string): Promise<Readonly<Record<string, unknown>>>;
  convert(
    from: string,
    to: string,
    options: { readonly ontoZeros: boolean; readonly lengthBytes: number; readonly flush: boolean },
    watch: CopyWatch,
  ): Promise<void>;
  create(path: string, driver: string, sizeBytes: number): Promise<void>;
};

export function qemuTools(programs: Programs): QemuTools {
  const run = async (args: readonly string[], options: RunOptions = {}): Promise<ProgramResult> => {
    const path = programs.require('qemu-img');
    try {
      if (programs.find('setpriv') === null) return await programs.run('qemu-img', args, options);
      return await programs.run('setpriv', ['--pdeathsig', 'KILL', path, ...args], options);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw inWords(error);
    }
  };
  return {
    async info(name) {
      const { stdout } = await run(['info', '--output=json', name]);
      return parse(stdout);
    },
    async convert(from, to, { ontoZeros, lengthBytes, flush }, { signal, progress }) {
      const onto = ontoZeros ? ['--target-is-zero'] : [];
      // `unsafe` sends no flush, which one at the end of the last part is enough for.
      const args = ['convert', '-p', '-n', ...onto, '-t', flush ? 'writeback' : 'unsafe', '-T', 'writeback', '-f', 'raw', '-O', 'raw', from, to];
      await run(args, { signal, timeoutMs: limits.copyPartMs, onOutput: (text) => tellProgress(text, lengthBytes, progress) });
      progress(lengthBytes);
    },
    async create(path, driver, sizeBytes) {
      // A VHD is else rounded up to what old disks could have.
      const options = driver === 'vpc' ? ['-o', 'force_size=on'] : [];
      await run(['create', '-q', '-f', driver, ...options, '--', path, String(sizeBytes)]);
    },
  };
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new XvdError('PROGRAM_FAILED', 'qemu-img info printed what is no JSON', { cause: error });
  }
}

/** `    (12.34/100%)` again and again. */
function tellProgress(text: string, lengthBytes: number, progress: (doneBytes: number) => void): void {
  const last = [...text.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1];
  if (last !== undefined) progress(Math.floor((Number(last) / 100) * lengthBytes));
}

/** What it said, without the JSON that it was given. */
function inWords(error: unknown): unknown {
  if (!(error instanceof XvdError) || error.code !== 'PROGRAM_FAILED') return error;
  const { stderr } = error.details;
  const said = typeof stderr === 'string' ? stderr.trim() : '';
  if (said === '') return new XvdError('PROGRAM_FAILED', 'qemu-img failed', { cause: error });
  const plain = said
    .replaceAll(/^qemu-img: /gm, '')
    .replaceAll(/'json:.*?'(?=:|$)/gm, 'it')
    .slice(-600);
  const full = /No space left on device|Disk quota exceeded|File too large/.test(said);
  return new XvdError(full ? 'IMAGE_NO_SPACE' : 'PROGRAM_FAILED', `qemu-img: ${plain}`, { cause: error });
}
