// create --no-wipe looks at the devices that it takes space from before anything is recorded.

import assert from 'node:assert/strict';

import { MIB } from '../base/units.ts';
import { createDisk } from './create-disk.ts';
import { code, eachCatalog } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';

const pool = async ({ system }: Rig): Promise<void> => {
  for (const device of ['/dev/sda', '/dev/sdb']) await formatDevice(system, { device, extentBytes: MIB });
};
const disksOf = ({ system }: Rig): Promise<number> => system.catalog.read(async (reader) => (await reader.highest()).disk);

eachCatalog('a disk that is not wiped is refused, and nothing of it recorded, where a device is gone', async (rig) => {
  const { system } = rig;
  await pool(rig);
  system.host.pullDevice('/dev/sdb');
  for (const dryRun of [true, false])
    await assert.rejects(createDisk(system, { sizeBytes: MIB, name: 'web', wipe: false, dryRun }), code('DEVICE_NOT_FOUND', /sdb/));
  assert.equal(await disksOf(rig), 0);
  assert.equal((await createDisk(system, { sizeBytes: 60 * MIB, wipe: false })).state, 'live', 'all of it lies on the other device');
  system.host.returnDevice('/dev/sdb');
  assert.equal((await createDisk(system, { sizeBytes: 4 * MIB, name: 'web', wipe: false })).state, 'live');
});

eachCatalog('a disk that is not wiped is refused where another device took the place of one', async (rig) => {
  const { system } = rig;
  await pool(rig);
  const { store } = system.host;
  const head = store('/dev/sdb').readDirect(0, 4096);
  store('/dev/sdb').writeDirect(0, new Uint8Array(4096));
  const reading = { ...system, readHead: (path: string) => store(path).readDirect(0, 4096) };
  for (const on of [system, reading]) {
    // The larger ones need both devices.
    for (const sizeBytes of [MIB, 90 * MIB]) await assert.rejects(createDisk(on, { sizeBytes, wipe: false }), code('DEVICE_IDENTITY_MISMATCH', /sdb/));
  }
  assert.equal(await disksOf(rig), 0);
  store('/dev/sdb').writeDirect(0, head);
  let verified = 0;
  const counted = { ...reading, host: { ...reading.host, verify: async () => void (verified += 1) } };
  assert.equal((await createDisk(counted, { sizeBytes: 90 * MIB, wipe: false })).state, 'live');
  assert.equal(verified, 0, 'the labels told it');
});
