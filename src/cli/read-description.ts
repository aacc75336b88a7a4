// A domain's description from its file: TypeScript or JavaScript (exported as `domain`, or by default), JSON or TOML.

import { access, readFile } from 'node:fs/promises';
import { registerHooks } from 'node:module';
import { dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { XvdError } from '../base/error.ts';
import { validateDescription } from '../core/domain-description.ts';
import type { DomainDescription } from '../core/types.ts';

export async function readDescription(file: string): Promise<DomainDescription> {
  const path = resolve(file);
  try {
    await access(path);
  } catch (error) {
    throw new XvdError((error as NodeJS.ErrnoException).code === 'EACCES' ? 'NOT_PERMITTED' : 'FILE_NOT_FOUND', `the description ${file} can't be read`, {
      cause: error,
    });
  }
  const description = validateDescription(await load(path, file));
  // Paths in it are meant from where it lies, not from where the daemon runs.
  const from = (value: string): string => (isAbsolute(value) ? value : join(dirname(path), value));
  const { kernel, ramdisk, firmware, console } = description;
  const socket = console?.startsWith('unix:') === true ? `unix:${from(console.slice('unix:'.length))}` : null;
  return {
    ...description,
    ...(kernel === undefined ? {} : { kernel: from(kernel) }),
    ...(firmware === undefined || firmware === 'bios' || firmware === 'uefi' ? {} : { firmware: from(firmware) }),
    ...(ramdisk === undefined ? {} : { ramdisk: from(ramdisk) }),
    ...(console === undefined ? {} : { console: socket ?? from(console) }),
  };
}

/** `import { defineDomain } from 'xvd'` works wherever the file lies: where no package of that name is installed, it is this one. */
function resolveOurselves(): void {
  const ours = new URL('../index.ts', import.meta.url).href;
  registerHooks({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        if (specifier !== 'xvd') throw error;
        return { url: ours, shortCircuit: true };
      }
    },
  });
}

async function load(path: string, file: string): Promise<unknown> {
  try {
    switch (extname(path)) {
      case '.json':
        return JSON.parse(await readFile(path, 'utf8'));
      case '.toml':
        return (await import('smol-toml')).parse(await readFile(path, 'utf8'));
      case '.ts':
      case '.mts':
      case '.js':
      case '.mjs': {
        resolveOurselves();
        const exported = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
        return exported['domain'] ?? exported['default'];
      }
      default:
        throw new XvdError('VALUE_INVALID', `${file} is no description`, { fix: 'Its name ends in .ts, .js, .json or .toml.' });
    }
  } catch (error) {
    if (error instanceof XvdError) throw error;
    throw new XvdError('VALUE_INVALID', `the description ${file} has an error: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
      fix: 'Mend the file; `xvd domain start --help` says what it holds.',
    });
  }
}
