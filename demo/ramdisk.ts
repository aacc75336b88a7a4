// Makes an initramfs of busybox, one init script and the modules that a guest needs before its root disk: for the demo's guest,
// the lab's machines and the guests inside them.

import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

export const busybox = '/bin/busybox';

const execute = promisify(execFile);

/** Runs a program to its end and gives what it said. */
export async function run(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
  const { stdout } = await execute(program, [...args], { cwd, maxBuffer: 64 * 1024 * 1024, env });
  return stdout;
}

export type RamdiskOptions = {
  readonly file: string;
  /** The script that becomes /init. */
  readonly init: string;
  /** Where the kernel's package was unpacked: below it lie lib/modules/RELEASE. */
  readonly unpacked: string;
  readonly release: string;
  readonly modules: readonly string[];
};

/** The modules lie in /modules, their names in /modules/order in the order to load them. */
export async function makeRamdisk({ file, init, unpacked, release, modules }: RamdiskOptions): Promise<void> {
  const tree = `${file}.tree`;
  for (const name of ['bin', 'dev', 'proc', 'sys', 'modules']) await mkdir(join(tree, name), { recursive: true });
  await cp(busybox, join(tree, 'bin', 'busybox'));
  await cp(init, join(tree, 'init'));
  await chmod(join(tree, 'init'), 0o755);
  const order: string[] = [];
  for (const path of await moduleFiles(unpacked, release, modules)) {
    const name = basename(path).replace(/\.xz$/, '');
    if (path.endsWith('.xz')) await run('sh', ['-c', 'xz -dc "$0" >"$1"', path, join(tree, 'modules', name)]);
    else await cp(path, join(tree, 'modules', name));
    order.push(name);
  }
  await writeFile(join(tree, 'modules', 'order'), `${order.join('\n')}\n`);
  await run('sh', ['-c', 'find . | cpio --quiet -o -H newc -R 0:0 >"$0"', file], tree);
  await rm(tree, { recursive: true });
}

/** The files of the modules and of what they stand on, in the order to load them. What is part of the kernel has none. */
export async function moduleFiles(unpacked: string, release: string, modules: readonly string[]): Promise<readonly string[]> {
  await run('depmod', ['-b', unpacked, release]);
  const lines = await run('modprobe', ['-d', unpacked, '-S', release, '--show-depends', '--all', ...modules]);
  return [...new Set(lines.split('\n').flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []))];
}
