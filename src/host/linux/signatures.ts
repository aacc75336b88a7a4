// Filesystem, RAID, LVM and partition-table signatures, as blkid finds them by reading the device itself.

import { XvdError } from '../../base/error.ts';
import type { Programs } from '../programs.ts';

const NOTHING = 2;
const SEVERAL = 8;

/** In blkid's words; what could not be looked for counts as found. */
export async function readSignatures(programs: Programs, path: string, sizeBytes: number): Promise<readonly string[]> {
  if (sizeBytes === 0) return [];
  try {
    const { status, stdout, stderr } = await programs.run('blkid', ['--probe', '--output', 'export', '--no-part-details', path], {
      okStatus: [0, NOTHING, SEVERAL],
    });
    if (status === SEVERAL) return ['several signatures'];
    // The same status says that nothing was found and that it could not look.
    if (status === NOTHING && stderr.trim() !== '') return [`unknown signatures (${stderr.trim().slice(0, 200)})`];
    return parseSignatures(stdout);
  } catch (error) {
    if (error instanceof XvdError) return [`unknown signatures (${error.message.slice(0, 200)})`];
    throw error;
  }
}

export function parseSignatures(text: string): readonly string[] {
  const values = new Map(text.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const));
  const type = values.get('TYPE');
  const table = values.get('PTTYPE');
  return [...(type === undefined ? [] : [type]), ...(table === undefined ? [] : [`${table} partition table`])];
}
