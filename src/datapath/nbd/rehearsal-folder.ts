// The VBD that spare processes rehearse with (rehearse.ts): nobody's, two runs of /dev/zero in a folder like any other, but not among those of
// VBDs. Spares share it; what they keep of it, a slot of its counters and a byte of its shared page, hinders nobody.

import { join } from 'node:path';
import { bytes } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { sharedPageBytes } from './shared-page.ts';
import { folderAt, makeFolder } from './vbd-folder.ts';

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

/** Its path. Throws when it can't be made. */
export function makeRehearsalFolder(runFolder: string, syscalls: Syscalls | null): string {
  const folder = folderAt(join(runFolder, 'rehearsal'));
  makeFolder(folder, PLAN, sharedPageBytes(PLAN.segments.length), syscalls);
  return folder.path;
}
