// The first file of the built command: runs cli-main.cjs from V8's code cache beside it. Node's own cache holds only what is
// compiled when a file is loaded; this one, taken when a command ends, holds all that the command had compiled, and saves the
// next a quarter of its time. Without a cache, or with one that does not fit, all works the same.

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { wrap } from 'node:module';
import { dirname, join } from 'node:path';
import { constants, Script } from 'node:vm';

/** Set by the build, and the first line of the program that the cache is of: V8 itself compares no more than lengths. */
declare const BUILD: string;

type Program = (exports: object, require: NodeJS.Require, module: object, file: string, folder: string) => void;

// That the loader of `import()` is experimental is ours to know, and no matter for who runs a command.
const { emitWarning } = process;
process.emitWarning = (warning: string | Error, ...rest: never[]): void => {
  if (typeof warning !== 'string' || !warning.startsWith('vm.USE_MAIN_CONTEXT_DEFAULT_LOADER')) emitWarning.call(process, warning, ...rest);
};

const file = join(__dirname, 'cli-main.cjs');
// Options of V8 make another cache, which would take the place of the usual one: that of bin/xvd.
const isUsual = process.execArgv.length === 1 && process.execArgv[0] === '--no-rehash-snapshot' && process.env['NODE_OPTIONS'] === undefined;
const cacheFile = join(__dirname, '.compiled', `${BUILD.slice(0, 32)}-${process.version}-${process.arch}`);
// The build writes nothing but ASCII.
const source = readFileSync(file, 'latin1');
const ours = isUsual && source.startsWith(`// ${BUILD}\n`);
const cached = ours ? readCache() : undefined;
const script = new Script(wrap(source), {
  filename: file,
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  ...(cached === undefined ? {} : { cachedData: cached }),
});
if (ours && (cached === undefined || script.cachedDataRejected === true)) process.once('exit', keepCache);
const program = { exports: {} };
(script.runInThisContext() as Program)(program.exports, require, program, file, __dirname);

function readCache(): Buffer | undefined {
  try {
    return readFileSync(cacheFile);
  } catch {
    return undefined;
  }
}

/** Complete or not at all, also when the host fails: V8 trusts what it reads. A folder that can't be written is no error. */
function keepCache(): void {
  const half = `${cacheFile}.${process.pid}.half`;
  try {
    mkdirSync(dirname(cacheFile), { recursive: true });
    const descriptor = openSync(half, 'wx');
    try {
      writeSync(descriptor, script.createCachedData());
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(half, cacheFile);
  } catch {
    // The next command compiles what it needs, as this one did.
  }
}
