// For tests: a daemon that is killed as soon as it has started a connection process, before it can put it on record.
//
// Arguments: the run folder, the VBD's plan as JSON, and what becomes of the records before it is killed (`kept` or `lost`).
// Prints a line when it serves.

import childProcess from 'node:child_process';
import { renameSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { vbdFolder } from './vbd-folder.ts';

const [runFolder = '', told = '', records = ''] = process.argv.slice(2);
const plan = JSON.parse(told) as VbdPlan;
const { processes } = vbdFolder(runFolder, plan.generation);
const { spawn } = childProcess;
const killedAfter = (...args: Parameters<typeof spawn>): never => {
  if (records === 'lost') renameSync(processes, `${processes}-lost`);
  spawn(...args);
  process.kill(process.pid, 'SIGKILL');
  throw new Error('unreachable');
};
Object.assign(childProcess, { spawn: killedAfter });
syncBuiltinESMExports();

const { openNbdDataPath } = await import('./nbd-data-path.ts');
const dataPath = openNbdDataPath({
  runFolder,
  connectionProgram: join(import.meta.dirname, 'connection.ts'),
  nodePath: process.execPath,
  verify: async () => {},
  syscalls: openSyscalls(),
  log: () => {},
});
await dataPath.open(plan);
process.stdout.write('serving\n');
