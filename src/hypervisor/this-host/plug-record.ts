// What this host has been asked to plug, one folder a generation: RUN/dom0/GENERATION/plug.json. It is written before the
// first step and removed after the last, so that whatever a killed process left behind can be found and finished.

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Endpoint, Generation, VbdMode } from '../../core/types.ts';

export type PlugRecord = {
  readonly generation: Generation;
  readonly bootId: string;
  readonly target: string;
  readonly mode: VbdMode;
  readonly blockBytes: 512 | 4096;
  readonly endpoint: Endpoint;
  /** What the link at the target leads to, or is about to; null until that is known. */
  readonly linkTo: string | null;
};

export type PlugRecords = {
  folder(generation: Generation): string;
  /** The file that shows the endpoint's bytes (an export through FUSE). */
  exportFile(generation: Generation): string;
  /** Has a file for each kernel NBD device that is a VBD. */
  readonly nodesFolder: string;
  read(generation: Generation): Promise<PlugRecord | null>;
  list(): Promise<readonly PlugRecord[]>;
  write(record: PlugRecord): Promise<void>;
  remove(generation: Generation): Promise<void>;
};

export function plugRecords(runFolder: string): PlugRecords {
  const home = join(runFolder, 'dom0');
  const folder = (generation: Generation): string => join(home, String(generation));
  const read = async (generation: Generation): Promise<PlugRecord | null> => {
    const text = await readFile(join(folder(generation), 'plug.json'), 'utf8').catch(() => null);
    return text === null ? null : (JSON.parse(text) as PlugRecord);
  };
  return {
    folder,
    nodesFolder: join(home, 'nodes'),
    exportFile: (generation) => join(folder(generation), 'disk'),
    read,
    list: async () => {
      const names = await readdir(home).catch(() => []);
      const records = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map((name) => read(Number(name))));
      return records.filter((record) => record !== null);
    },
    write: async (record) => {
      const place = folder(record.generation);
      await mkdir(place, { recursive: true, mode: 0o700 });
      await writeFile(join(place, 'plug.json.new'), JSON.stringify(record), { mode: 0o600 });
      await rename(join(place, 'plug.json.new'), join(place, 'plug.json'));
    },
    remove: (generation) => rm(folder(generation), { recursive: true, force: true }),
  };
}
