// Labels lag behind the catalog, are never ahead of it, and notice an old catalog, a second state folder and a second host (I7).

import assert from 'node:assert/strict';

import { limits } from '../base/limits.ts';
import { bytes, MIB, wallMs } from '../base/units.ts';
import { disk as diskRow } from '../catalog/fixture.ts';
import { decodeCopy } from '../core/catalog-copy.ts';
import { decodeLabel } from '../core/label.ts';
import { readRing } from '../core/label-ring.ts';
import { createDisk } from './create-disk.ts';
import { eachCatalog, code, packer, DISK_BYTES } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { recoverCatalog } from './recover-catalog.ts';
import { judgeLabels, refuseStale } from './read-labels.ts';
import type { CatalogSystem } from './system.ts';
import { writeLabels } from './write-labels.ts';

const commitOf = (system: CatalogSystem): Promise<number> => system.catalog.read((reader) => reader.commitNumber());
const headOf = ({ system }: Rig, path: string) => decodeLabel(system.host.store(path).readDirect(0, 4096));
const copiesOf = ({ system }: Rig, path: string, place = 0) =>
  readRing(system.host.store(path).readDirect(place, MIB)).map((record) => decodeCopy(packer.unpack(record.payload, limits.labelCopyBytes)));

eachCatalog('labels get the number of the last commit and a copy of the catalog, head and tail', async (rig) => {
  const { system } = rig;
  for (const device of ['/dev/sda', '/dev/sdb']) await formatDevice(system, { device, extentBytes: MIB });
  await createDisk(system, { sizeBytes: DISK_BYTES, name: 'web' });
  const commit = await commitOf(system);
  assert.deepEqual(await writeLabels(system), { written: ['/dev/sda', '/dev/sdb'], warnings: [] });
  assert.equal(await commitOf(system), commit, 'writing labels is no commit');
  for (const [path, tail] of [
    ['/dev/sda', 65 * MIB],
    ['/dev/sdb', 33 * MIB],
  ] as const) {
    assert.deepEqual([headOf(rig, path)?.commitNumber, headOf(rig, path)?.highestDiskId], [commit, 1]);
    for (const place of [0, tail]) {
      const [copy] = copiesOf(rig, path, place);
      assert.deepEqual(
        copy?.disks.map(({ disk, runs }) => [disk.name, disk.sizeBytes, runs.length]),
        [['web', DISK_BYTES, 1]],
      );
      assert.equal(copy.devices.length, 2);
    }
  }
  assert.deepEqual((await writeLabels(system)).written, [], 'nothing is newer');
});

eachCatalog('older copies stay in the ring; a command writes only what lags far behind', async (rig) => {
  const { system } = rig;
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB });
  const seen: number[] = [];
  for (let round = 0; round < 4; round += 1) {
    await createDisk(system, { sizeBytes: MIB });
    seen.unshift(await commitOf(system));
    await writeLabels(system);
  }
  assert.deepEqual(
    copiesOf(rig, '/dev/sda').map((copy) => copy?.commitNumber),
    seen,
  );
  await createDisk(system, { sizeBytes: MIB });
  assert.deepEqual((await writeLabels(system, { lagCommits: 64 })).written, []);
  const { lagCommits } = await judgeLabels(system);
  assert.ok(lagCommits > 0 && lagCommits < 64);
  assert.deepEqual((await writeLabels(system, { lagCommits })).written, ['/dev/sda']);
});

eachCatalog('a catalog that is older than what a device knows is refused', async (rig) => {
  const { system } = rig;
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB });
  await createDisk(system, { sizeBytes: MIB });
  await writeLabels(system);
  assert.equal((await refuseStale(system)).lagCommits, 0);
  // The root was rolled back: the same catalog, at an earlier commit.
  const old = await rig.another();
  await old.catalog.write(async (writer) => {
    for (const { id: _, ...device } of await system.catalog.read((reader) => reader.devices())) await writer.addDevice(device);
    await writer.setCatalogId(await system.catalog.read((reader) => reader.catalogId()));
  });
  await assert.rejects(refuseStale(old), code('CATALOG_STALE', /\/dev\/sda knows commit \d+, and the catalog is at 1/));
  assert.deepEqual(await writeLabels(old), { written: [], warnings: [] }, 'and writes no label back');
  // A label is never ahead of a commit; equal commits with an ID that the catalog has not given are as wrong.
  await old.catalog.write((writer) => writer.raiseNumbers({ commit: 1000 }));
  await assert.rejects(refuseStale(old), code('CATALOG_STALE', /vd:1, and the catalog ends at vd:0/));
});

eachCatalog('a device of another catalog and a second host are noticed, and their labels left alone', async (rig) => {
  const { system } = rig;
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB });
  await writeLabels(system);
  const moved = { ...system, hostName: 'there' };
  await assert.rejects(refuseStale(moved), code('LABEL_FOREIGN', /last used by host here, and this is there/));
  const before = headOf(rig, '/dev/sda');
  await createDisk(system, { sizeBytes: MIB });
  assert.match((await writeLabels(moved)).warnings.join(), /not written: .*last used by host here/);
  const other = await rig.another();
  await other.catalog.write(async (writer) => {
    for (const { id: _, ...device } of await system.catalog.read((reader) => reader.devices())) await writer.addDevice(device);
  });
  await assert.rejects(refuseStale(other), code('LABEL_FOREIGN', /carries the label of catalog/));
  assert.match((await writeLabels(other)).warnings.join(), /of catalog/);
  assert.deepEqual(headOf(rig, '/dev/sda'), before);
});

eachCatalog('a device that is away keeps nobody from working', async (rig) => {
  const { system } = rig;
  for (const device of ['/dev/sda', '/dev/sdb']) await formatDevice(system, { device, extentBytes: MIB });
  await writeLabels(system);
  system.host.pullDevice('/dev/sda');
  await createDisk(system, { sizeBytes: MIB });
  const result = await writeLabels(system);
  assert.deepEqual(result.written, ['/dev/sdb']);
  assert.match(result.warnings.join(), /\/dev\/sda/);
  assert.equal((await refuseStale(system)).problems.length, 0);
  system.host.returnDevice('/dev/sda');
  await writeLabels({ ...system, packer: { ...packer, pack: () => new Uint8Array(limits.labelBytes) } });
  assert.equal(headOf(rig, '/dev/sda')?.commitNumber, await commitOf(system), 'what fits into no ring is left out, the number is not');
  assert.equal(bytes(headOf(rig, '/dev/sda')?.copyOffset ?? 0) > 0, true, 'the older copy stays');
});

eachCatalog(
  'of a catalog that is too large each label has the runs on its device and their disks, and all of them rebuild it',
  async (rig) => {
    const { system } = rig;
    for (const device of ['/dev/sda', '/dev/sdb']) await formatDevice(system, { device, extentBytes: MIB });
    for (const size of [60, 30, 6]) await createDisk(system, { sizeBytes: size * MIB, name: `of-${size}`, wipe: false });
    // Disks of which nothing is left, so that there are more disks than runs.
    const bare = diskRow({ expiresAt: wallMs(20), lostBytes: bytes(64 * MIB) });
    await system.catalog.write(async (writer) => {
      for (let count = 0; count < 4; count += 1) await writer.addDisk(bare);
    });
    await writeLabels(system, { copyDisks: 6 });
    const parts = ['/dev/sda', '/dev/sdb'].map((path) => copiesOf(rig, path)[0]);
    assert.deepEqual(
      parts.map((copy) => [copy?.part, copy?.devices.length, copy?.disks.map((each) => each.disk.name)]),
      [
        [1, 2, ['of-60', 'of-6']],
        [2, 2, ['of-30', 'of-6']],
      ],
    );
    await writeLabels(system, { copyDisks: 1 });
    assert.equal(parts.length, 2, 'what does not fit leaves the copies that are there');
    const fresh = await rig.another();
    const { disks, reclaimed } = await recoverCatalog(fresh, { fromDevices: true, devices: ['/dev/sda', '/dev/sdb'] });
    assert.deepEqual(
      [disks.map(({ name, lostBytes }) => [name, lostBytes]), reclaimed],
      [
        [
          ['of-60', 0],
          ['of-30', 0],
          ['of-6', 0],
        ],
        [],
      ],
    );
    const runsOf = (from: CatalogSystem) =>
      from.catalog.read(async (reader) =>
        (await Promise.all([1, 2, 3].map((id) => reader.runs(id)))).map((runs) =>
          runs.map(({ deviceId, firstExtent, count }) => [deviceId, firstExtent, count]),
        ),
      );
    assert.deepEqual(await runsOf(fresh), await runsOf(system));
  },
  ['CATALOG_STALE'],
);

eachCatalog('labels that another process is writing are left to it', async (rig) => {
  const { system } = rig;
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB });
  await createDisk(system, { sizeBytes: DISK_BYTES });
  const [device] = await system.catalog.read((reader) => reader.devices());
  const before = headOf(rig, '/dev/sda')?.commitNumber;
  {
    await using claim = await system.host.claim([`label:${device?.uuid}`]);
    void claim;
    assert.equal((await writeLabels(system)).warnings.length, 1);
    assert.equal(headOf(rig, '/dev/sda')?.commitNumber, before);
  }
  assert.deepEqual((await writeLabels(system)).written, ['/dev/sda']);
});
