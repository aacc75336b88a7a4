import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { openPrograms } from '../../host/programs.ts';
import { chooseAccelerator, runsUnder } from './accelerator.ts';

const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });

test('runsUnder() sees 64-bit code run under emulation', async () => {
  assert.equal(await runsUnder(programs, 'tcg'), true);
});

test('chooseAccelerator() takes KVM only when it ran that code', async () => {
  assert.equal(await chooseAccelerator(programs), (await runsUnder(programs, 'kvm')) ? 'kvm' : 'tcg');
});

const PROBE_MS = 2000;

/** One that has ended and that nobody has waited for yet has no words any more. */
function runs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1') !== '';
  } catch {
    return false;
  }
}

test('a QEMU that hangs is ended, also when who started it has been killed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-accelerator-'));
  const [path, pidFile] = [join(folder, 'qemu'), join(folder, 'pid')];
  const started = (): Promise<number> => until('it writes who it is', () => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'latin1')) : null));
  const gone = (pid: number): Promise<unknown> => until('it has ended', () => !runs(pid));
  try {
    writeFileSync(path, `#!/bin/sh\necho $$ > ${pidFile}.new && mv ${pidFile}.new ${pidFile}\nexec tail -f /dev/null\n`);
    chmodSync(path, 0o755);
    const hanging = openPrograms({ searchPath: process.env['PATH'] ?? '', places: { 'qemu-system-x86_64': path } });
    assert.equal(await runsUnder(hanging, 'kvm', PROBE_MS), false);
    await gone(await started());
    rmSync(pidFile);
    const starter = spawn(process.execPath, ['--input-type=module', '-e', starterOf(path)], { stdio: 'ignore' });
    const pid = await started();
    starter.kill('SIGKILL');
    await once(starter, 'exit');
    await gone(pid);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const starterOf = (path: string): string => `
  const { openPrograms } = await import(${JSON.stringify(import.meta.resolve('../../host/programs.ts'))});
  const { runsUnder } = await import(${JSON.stringify(import.meta.resolve('./accelerator.ts'))});
  await runsUnder(openPrograms({ searchPath: process.env.PATH, places: { 'qemu-system-x86_64': ${JSON.stringify(path)} } }), 'kvm', ${PROBE_MS});`;
