// How far copies have come: a small file each in XVD_RUN/copies, which goes with the boot, as what they tell of does.

import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CopyRecord } from '../../core/copy-record.ts';
import type { Images } from '../image.ts';

export function copyRecords(runFolder: string): Pick<Images, 'record' | 'keepRecord' | 'dropRecord'> {
  const folder = join(runFolder, 'copies');
  const fileOf = (key: string): string => join(folder, `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.json`);
  return {
    async record(key) {
      const text = await readFile(fileOf(key), 'utf8').catch(() => null);
      return text === null ? null : parse(text);
    },
    async keepRecord(key, record) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const file = fileOf(key);
      await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
      await rename(`${file}.new`, file);
    },
    dropRecord: (key) => rm(fileOf(key), { force: true }),
  };
}

/** A torn one tells nothing. */
function parse(text: string): CopyRecord | null {
  try {
    return JSON.parse(text) as CopyRecord;
  } catch {
    return null;
  }
}
