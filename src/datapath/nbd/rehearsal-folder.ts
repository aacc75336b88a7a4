// The VBD that spare processes rehearse with (rehearse.ts): nobody's, two runs of /dev/zero, in a folder beside those of VBDs. Spares share it, and open it
// only: nothing is ever asked of its shared page, on which one that is killed could leave something behind for the others.

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bytes } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { COUNTERS_BYTES } from './counters.ts';
import { sharedPageBytes } from './shared-page.ts';
import { folderAt, putWhole } from './vbd-folder.ts';

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
  const { path, processes, plan, shared, counters } = folderAt(join(runFolder, 'rehearsal'));
  rmSync(path, { recursive: true, force: true });
  mkdirSync(processes, { recursive: true, mode: 0o700 });
  putWhole(plan, JSON.stringify(PLAN));
  putWhole(shared, new Uint8Array(sharedPageBytes(PLAN.segments.length)));
  putWhole(counters, new Uint8Array(COUNTERS_BYTES));
  return path;
}
