// Every drive, partition, loop and device-mapper device that has a size: where labels of a lost catalog are looked for.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SysRoots } from './sys-block.ts';

export async function listBlockDevices({ sys, dev }: Pick<SysRoots, 'sys' | 'dev'>): Promise<readonly string[]> {
  const folder = join(sys, 'class', 'block');
  const names = await readdir(folder).catch(() => []);
  const paths: string[] = [];
  for (const name of names.toSorted()) {
    const size = await readFile(join(folder, name, 'size'), 'utf8').catch(() => '0');
    // The kernel writes a slash of a node's name as an exclamation mark.
    if (Number(size) > 0) paths.push(join(dev, name.replaceAll('!', '/')));
  }
  return paths;
}
