// Holds the installed packages against the lock file: same place, same version, same hash, and nothing besides.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

type Package = { readonly version?: string; readonly integrity?: string; readonly optional?: boolean };
type Lock = { readonly packages: Readonly<Record<string, Package>> };

const root = resolve(import.meta.dirname, '..');
const read = (file: string): Lock => JSON.parse(readFileSync(resolve(root, file), 'utf8')) as Lock;
const wanted = read('package-lock.json').packages;
const installed = read('node_modules/.package-lock.json').packages;

const problems: string[] = [];
for (const [path, found] of Object.entries(installed)) {
  const entry = wanted[path];
  if (!entry) problems.push(`${path} ${found.version} is not in the lock file`);
  else if (entry.version !== found.version || entry.integrity !== found.integrity)
    problems.push(`${path} is ${found.version}, the lock file has ${entry.version}`);
}
for (const [path, entry] of Object.entries(wanted)) {
  if (path !== '' && !entry.optional && !installed[path]) problems.push(`${path} is missing`);
}
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
