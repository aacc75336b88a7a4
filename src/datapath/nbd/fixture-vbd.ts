// For tests: one VBD of a plan, served in a folder of its own.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import type { DataPath } from '../datapath.ts';
import { openNbdDataPath } from './nbd-data-path.ts';
import type { NbdOptions } from './nbd-data-path.ts';

export type TestVbd = AsyncDisposable & {
  readonly folder: string;
  readonly plan: VbdPlan;
  readonly uri: string;
  readonly socketPath: string;
  readonly dataPath: DataPath;
};

type TestOptions = Pick<NbdOptions, 'spareProcesses' | 'parkAfterMs' | 'socketAccess'> & Partial<Pick<NbdOptions, 'log'>>;

export async function openTestVbd(planIn: (folder: string) => VbdPlan, options: TestOptions = {}): Promise<TestVbd> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-nbd-'));
  const plan = planIn(folder);
  const connectionProgram = join(import.meta.dirname, 'connection.ts');
  const dataPath = openNbdDataPath({
    runFolder: folder,
    connectionProgram,
    nodePath: process.execPath,
    parkAfterMs: 0,
    log: () => {},
    ...options,
    verify: async () => {},
    syscalls: openSyscalls(),
  });
  const endpoint = await dataPath.open(plan);
  assert.ok(endpoint.kind === 'nbd');
  return {
    folder,
    plan,
    uri: endpoint.uri,
    socketPath: endpoint.socketPath,
    dataPath,
    async [Symbol.asyncDispose]() {
      await dataPath.close(plan.generation);
      await dataPath[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}
