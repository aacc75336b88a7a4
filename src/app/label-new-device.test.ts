// A format that fails leaves the device as it was; one that is killed leaves at worst labels that nobody knows.

import assert from 'node:assert/strict';

import { XvdError } from '../base/error.ts';
import { bytes, extents, MIB } from '../base/units.ts';
import { decodeLabel } from '../core/label.ts';
import { faultyHost } from '../host/simulated/faulty-host.ts';
import type { HostCall } from '../host/simulated/faulty-host.ts';
import { code, eachCatalog } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice, unformatDevice } from './format-device.ts';
import type { CatalogSystem } from './system.ts';

const places = [0, 65 * MIB] as const;
const format = (system: CatalogSystem) => formatDevice(system, { device: '/dev/sda', extentBytes: MIB });
const devicesOf = ({ system }: Rig) => system.catalog.read((reader) => reader.devices());

/** What stood where the labels go, and whether it still does. */
function fill({ system }: Rig): () => boolean[] {
  const store = system.host.store('/dev/sda');
  for (const place of places) store.writeDirect(place, new Uint8Array(8192).fill(7));
  return () => places.map((place) => store.readDirect(place, 8192).every((byte) => byte === 7));
}

/** Its catalog answers the first writes only. */
function failingAfter({ catalog, ...system }: CatalogSystem, writes: number): CatalogSystem {
  let left = writes;
  const write: CatalogSystem['catalog']['write'] = (body) => {
    if ((left -= 1) < 0) throw new XvdError('CATALOG_DISK_FULL', 'planned');
    return catalog.write(body);
  };
  const faulty: CatalogSystem['catalog'] = {
    read: (body) => catalog.read(body),
    write,
    changeMark: () => catalog.changeMark(),
    backup: (path) => catalog.backup(path),
    selfCheck: () => catalog.selfCheck(),
    [Symbol.asyncDispose]: async () => undefined,
  };
  return { ...system, catalog: faulty };
}

eachCatalog('a format that the catalog refuses at its end puts back what was there', async (rig) => {
  const isThere = fill(rig);
  await assert.rejects(format(failingAfter(rig.system, 1)), code('CATALOG_DISK_FULL'));
  assert.deepEqual([isThere(), await devicesOf(rig)], [[true, true], []]);
  assert.equal((await format(rig.system)).changed, true);
});

eachCatalog(
  'a format that meets what came to the pool meanwhile is refused and puts back what was there',
  async (rig) => {
    const { system } = rig;
    const isThere = fill(rig);
    const { footprint, sizeBytes } = await system.host.inspect('/dev/sda');
    system.host.addDevice({ path: '/dev/sdx', sizeBytes, footprint });
    const whileWriting = async (): Promise<void> => {
      const { identity, path, kind, drivePath, driveStartSector } = await system.host.inspect('/dev/sdx');
      const layout = {
        extentBytes: bytes(MIB),
        dataStartBytes: bytes(MIB),
        extentCount: extents(64),
        blockBytes: 512,
        labelled: false,
        overcommitted: false,
      } as const;
      await system.catalog.write((writer) =>
        writer.addDevice({ uuid: 'x', pool: 'default', path, kind, identity, drivePath, driveStartSector, sizeBytes, ...layout }),
      );
    };
    const host: CatalogSystem['host'] = {
      ...system.host,
      writeBytes: async (...args) => {
        if ((await devicesOf(rig)).length === 0) await whileWriting();
        return system.host.writeBytes(...args);
      },
    };
    await assert.rejects(format({ ...system, host }), code('DEVICE_OVERLAPS_POOL', /\/dev\/sdx/));
    assert.deepEqual(isThere(), [true, true]);
  },
  [],
);

type Fate = 'fails before' | 'fails after' | 'never ends';

/** Runs a format of which the call with that number does as `fate` says. */
async function formatUntil({ system }: Rig, at: number, fate: Fate): Promise<'done' | 'failed' | 'no such call'> {
  let calls = 0;
  const reached = Promise.withResolvers<'failed'>();
  const isIt = (call: HostCall): boolean => (call === 'readBytes' || call === 'writeBytes' || call === 'users') && (calls += 1) === at;
  const failing = faultyHost(system.host, (call) =>
    fate !== 'never ends' && isIt(call) ? { error: new XvdError('DEVICE_FAILED', 'planned'), after: fate === 'fails after' } : null,
  );
  const ends = new Proxy(failing, {
    get(target, name, receiver) {
      const value: unknown = Reflect.get(target, name, receiver);
      if (fate !== 'never ends' || typeof value !== 'function' || typeof name !== 'string') return value;
      return async (...args: readonly unknown[]): Promise<unknown> => {
        const last = isIt(name as HostCall);
        const result: unknown = await Reflect.apply(value, target, args);
        if (!last) return result;
        reached.resolve('failed');
        return new Promise(() => undefined);
      };
    },
  });
  const ended = format({ ...system, host: ends }).then(
    () => 'done' as const,
    (error: unknown) => {
      code('DEVICE_FAILED')(error);
      return 'failed' as const;
    },
  );
  const outcome = await Promise.race([ended, reached.promise]);
  return calls < at ? 'no such call' : outcome;
}

for (const fate of ['fails before', 'fails after'] as const)
  eachCatalog(`a device that ${fate} it was read or written is as it was, once it works again`, async (rig) => {
    const { system } = rig;
    const outcomes: string[] = [];
    for (let at = 1; outcomes.at(-1) !== 'no such call'; at += 1) {
      const isThere = fill(rig);
      const outcome = await formatUntil(rig, at, fate);
      outcomes.push(outcome);
      if (outcome === 'failed') assert.deepEqual([isThere(), (await devicesOf(rig)).length], [[true, true], 0], `call ${at}`);
      else await unformatDevice(system, { device: '/dev/sda' });
    }
    // Who uses it, the label of another, and what stands where the labels go: what can't be read there is cleared.
    assert.deepEqual(outcomes, ['failed', 'failed', 'done', 'done', 'failed', 'failed', 'no such call']);
  });

eachCatalog('a format that is killed at any call is no obstacle to the next one', async (rig) => {
  const { system } = rig;
  let at = 1;
  for (; (await formatUntil(rig, at, 'never ends')) === 'failed'; at += 1) {
    system.host.reboot();
    assert.deepEqual(await devicesOf(rig), []);
    const [head, tail] = places.map((place) => decodeLabel(system.host.store('/dev/sda').readDirect(place, 4096)));
    assert.ok(head === null || tail?.deviceUuid === head?.deviceUuid, 'never a head without its tail');
  }
  assert.equal(at, 7, 'each of six calls');
  assert.equal((await devicesOf(rig)).length, 1);
  assert.equal((await format(system)).changed, false);
});
