// The VBD that spare processes rehearse with (rehearse.ts): nobody's, two runs of /dev/zero, in a folder beside those of VBDs. Spares share it, and open it
// only: nothing is ever asked of its shared page, on which one that is killed could leave something behind for the others.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { bytes } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { sharedPageBytes } from './shared-page.ts';
import { folderAt, makeFiles } from './vbd-folder.ts';

const DEVICE = '/dev/zero';
const RUN_BYTES = bytes(1024 * 1024);

const PLAN: VbdPlan = {
  generation: 0,
  exportName: 'rehearsal',
  mode: 'w',
  sizeBytes: bytes(2 * RUN_BYTES),
  blockBytes: 512,
  cache: 'writeback',
  devices: [{ path: DEVICE, kind: 'file', identity: { kind: 'path', path: DEVICE }, sizeBytes: bytes(2 * RUN_BYTES) }],
  segments: [RUN_BYTES, bytes(0)].map((offsetBytes) => ({ deviceIndex: 0, offsetBytes, lengthBytes: RUN_BYTES })),
};

/** Its path; made anew, whatever there is. Throws when it can't be made. */
export function makeRehearsalFolder(runFolder: string): string {
  const folder = folderAt(join(runFolder, 'rehearsal'));
  rmSync(folder.path, { recursive: true, force: true });
  makeFiles(folder, PLAN, sharedPageBytes(PLAN.segments.length));
  return folder.path;
}
