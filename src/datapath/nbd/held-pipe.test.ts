// A copy's pipe is the proof that nothing of it can write any more: every process that serves it must hold it, however it was
// started, also when the daemon that started it is gone.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { bytes, MIB } from '../../base/units.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { openTestVbd } from './fixture-vbd.ts';
import { pipeIsGone } from './vbd-folder.ts';

for (const spareProcesses of [0, 1]) {
  test(`a process of a copy holds the copy's pipe until it ends (${spareProcesses} started before)`, async () => {
    await using vbd = await openTestVbd(
      (folder) => {
        const path = join(folder, 'a');
        writeFileSync(path, new Uint8Array(MIB));
        assert.ok((openSyscalls()?.mkfifo(join(folder, 'copy-1'), 0o600) ?? -1) >= 0);
        return {
          generation: 17,
          exportName: 'copy/vd-1@17',
          mode: 'w',
          sizeBytes: bytes(MIB),
          blockBytes: 512,
          cache: 'writeback',
          devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(MIB) }],
          segments: [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: bytes(MIB) }],
          pipe: 'copy-1',
        };
      },
      { spareProcesses },
    );
    const pipe = join(vbd.folder, 'copy-1');
    const client = connect(vbd.socketPath);
    await once(client, 'data'); // the greeting: its process runs
    await vbd.dataPath[Symbol.asyncDispose]();
    assert.equal(pipeIsGone(pipe), false, 'the daemon has let go, the process has not');
    client.destroy();
    await until('its end is seen', () => pipeIsGone(pipe));
  });
}
