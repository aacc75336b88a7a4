import assert from 'node:assert/strict';

import { bytes } from '../base/units.ts';
import { change } from './change.ts';
import { createDisk } from './create-disk.ts';
import { events } from './events.ts';
import { DISK_BYTES, eachCatalog } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { poisonVbd } from './poison-vbd.ts';
import { showDisk } from './show-disk.ts';

eachCatalog(
  'a failed write-back makes the disk suspect and is told once',
  async ({ system }) => {
    await formatDevice(system, { device: '/dev/sda', extentBytes: bytes(1024 * 1024) });
    const { id } = await createDisk(system, { sizeBytes: bytes(DISK_BYTES) });
    const { generation } = await change(system, 'test', (tx) =>
      tx.writer.addVbd({
        domain: 'web01',
        hypervisor: 'none',
        target: '/dev/xvda',
        vdev: 51_712,
        source: { kind: 'vd', diskId: id },
        mode: 'w',
        driver: 'nbd',
        cache: 'writeback',
        state: 'attached',
        sizeBytes: bytes(DISK_BYTES),
        sharing: 0,
        devicePath: null,
        uri: null,
        persist: false,
        limit: null,
        delay: null,
        faults: null,
        createdAt: tx.now,
        bootId: 'boot-1',
      }),
    );
    await poisonVbd(system, generation, 'write-back failed (error 5)');
    await poisonVbd(system, generation, 'write-back failed (error 5)');
    assert.equal((await showDisk(system, `vd:${id}`)).suspect, true);
    const told = await events(system, { limit: 100 });
    assert.deepEqual(
      told.filter(({ type }) => type === 'vbd.poisoned').map(({ subject, data }) => [subject, data]),
      [[`web01/xvda@${generation}`, { reason: 'write-back failed (error 5)' }]],
    );
    await change(system, 'test', (tx) => tx.writer.setVbdState(generation, 'detached'));
  },
  ['DISK_SUSPECT'],
);
