// Who may connect to the socket of a VBD: by its mode and owner, and nothing else beside it is open to them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { bytes, MIB } from '../base/units.ts';
import type { VbdPlan } from '../core/types.ts';
import { openTestVbd } from '../datapath/nbd/fixture-vbd.ts';
import { openPrograms } from '../host/programs.ts';
import { socketAccess } from './socket-access.ts';

const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });
const run = promisify(execFile);
const NOBODY = 65_534;

function plan(folder: string): VbdPlan {
  const path = join(folder, 'device');
  writeFileSync(path, '');
  truncateSync(path, MIB);
  const devices = [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(MIB) }] as const;
  const segments = [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: bytes(MIB) }];
  return { generation: 3, exportName: 'web01/xvda@3', mode: 'w', sizeBytes: bytes(MIB), blockBytes: 512, cache: 'writeback', devices, segments };
}

/** What a client of another user gets: the size, or an error. */
async function asNobody(socket: string): Promise<string> {
  const words = ['--size', `nbd+unix:///?socket=${socket}`];
  const { stdout, stderr } = await run('nbdinfo', words, { uid: NOBODY, gid: NOBODY, cwd: '/' }).catch(
    (error: unknown) => error as { stdout: string; stderr: string },
  );
  return `${stdout}${stderr}`;
}

test('without settings nobody else may connect; with them, whoever the mode and owner let', async () => {
  assert.equal(await socketAccess({ nbdSocketMode: null, nbdSocketOwner: null }, programs), null);
  await using closed = await openTestVbd(plan);
  assert.equal(statSync(closed.socketPath).mode & 0o777, 0o600);
  assert.match(await asNobody(closed.socketPath), /Permission denied/);

  const access = await socketAccess({ nbdSocketMode: '0660', nbdSocketOwner: ':nogroup' }, programs);
  assert.deepEqual(access, { mode: 0o660, uid: null, gid: NOBODY });
  await using open = await openTestVbd(plan, { socketAccess: access });
  const { mode, uid, gid } = statSync(open.socketPath);
  assert.deepEqual([mode & 0o777, uid, gid], [0o660, process.getuid?.(), NOBODY]);
  assert.equal(await asNobody(open.socketPath), `${MIB}\n`);
});

test('the folders on the way can be gone through and not looked into, and nothing else in them is open', async () => {
  await using open = await openTestVbd(plan, { socketAccess: { mode: 0o666, uid: null, gid: null } });
  const folder = join(open.folder, 'vbd', '3');
  for (const path of [open.folder, join(open.folder, 'vbd'), folder]) assert.equal(statSync(path).mode & 0o077, 0o011, path);
  for (const name of readdirSync(folder)) assert.equal(statSync(join(folder, name)).mode & 0o077, name === 'nbd.sock' ? 0o066 : 0, name);
});

test('a mode or an owner that is none is refused by name', async () => {
  for (const nbdSocketMode of ['rw', '888', '04755', '1']) {
    await assert.rejects(socketAccess({ nbdSocketMode, nbdSocketOwner: null }, programs), { code: 'VALUE_INVALID', message: /nbd_socket_mode/ }, nbdSocketMode);
  }
  for (const nbdSocketOwner of ['no-such-user', ':no-such-group', '--version', 'root:--help', 'root:root:root']) {
    await assert.rejects(
      socketAccess({ nbdSocketMode: null, nbdSocketOwner }, programs),
      { code: 'VALUE_INVALID', message: /nbd_socket_owner/ },
      nbdSocketOwner,
    );
  }
  assert.deepEqual(await socketAccess({ nbdSocketMode: null, nbdSocketOwner: '12:34' }, programs), { mode: 0o600, uid: 12, gid: 34 });
});
