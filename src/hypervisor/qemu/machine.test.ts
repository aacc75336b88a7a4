import assert from 'node:assert/strict';
import { test } from 'node:test';
import { XvdError } from '../../base/error.ts';
import { guestNames, rewriteRoot } from './guest-names.ts';
import { deviceAt, deviceOf, deviceOptions, freeSlot, generationOfNode, guestCommandLine, machineArguments, nodeName, nodeOptions, slotOf } from './machine.ts';

const disk = (target: string, vdev: number): { target: string; vdev: number } => ({ target, vdev });
const nbd = { kind: 'nbd', uri: 'nbd+unix:///a', socketPath: '/a,b', exportName: 'web01/xvda@17' } as const;

test('guestNames() gives names in the order of the numbers', () => {
  const names = guestNames([disk('/dev/xvdb', 51728), disk('/dev/xvda', 51712), disk('/dev/sda', 2048)]);
  assert.deepEqual(
    [...names],
    [
      ['/dev/sda', '/dev/vda'],
      ['/dev/xvda', '/dev/vdb'],
      ['/dev/xvdb', '/dev/vdc'],
    ],
  );
});

test('rewriteRoot() rewrites a target, a partition of it, and nothing else', () => {
  const names = guestNames([disk('/dev/xvda', 51712), disk('/dev/xvdb1', 51729)]);
  assert.equal(rewriteRoot('root=/dev/xvda ro quiet', names), 'root=/dev/vda ro quiet');
  assert.equal(rewriteRoot('console=ttyS0 root=/dev/xvda2', names), 'console=ttyS0 root=/dev/vda2');
  assert.equal(rewriteRoot('root=/dev/xvdb1', names), 'root=/dev/vdb');
  assert.equal(rewriteRoot('root=UUID=1-2 x=/dev/xvda root=/dev/nfs', names), 'root=UUID=1-2 x=/dev/xvda root=/dev/nfs');
});

test('machineArguments() starts stopped, boots the kernel directly, gives disks in order and keeps commas', () => {
  const description = { name: 'web01', kernel: '/boot/k', ramdisk: '/boot/r', memory: '256MiB', vcpus: 2, console: '/lo,g', root: '/dev/xvda ro', disks: [] };
  const facts = { accelerator: 'tcg', paths: { qmpSocket: '/run/q', consoleSocket: '/run/c', pidFile: '/run/pid' } } as const;
  const plug = (generation: number, target: string, vdev: number) => ({ generation, target, vdev, mode: 'w', serial: 'vd-1', endpoint: nbd }) as const;
  const args = machineArguments(description, [plug(18, '/dev/xvdb', 51728), plug(17, '/dev/xvda', 51712)], facts);
  const after = (flag: string): string | undefined => args[args.indexOf(flag) + 1];
  assert.ok(args.includes('-S') && !args.includes('-no-reboot') && !args.includes('-netdev'));
  assert.equal(after('-m'), '256M');
  assert.equal(after('-accel'), 'tcg,thread=multi');
  assert.equal(after('-append'), 'console=ttyS0 root=/dev/vda ro');
  assert.equal(after('-initrd'), '/boot/r');
  assert.match(after('-device') ?? '', /"vbd17\.xvda".*"addr":"0x3"/);
  assert.ok(args.some((arg) => arg.endsWith('logfile=/lo,,g,logappend=on')));
  assert.ok(machineArguments({ ...description, onExit: 'stop' }, [], facts).includes('-no-reboot'));
});

test('machineArguments() without a kernel: the firmware boots from the disks in their order; the console where its user wants it', () => {
  const facts = { accelerator: 'kvm', paths: { qmpSocket: '/run/q', consoleSocket: '/run/c', pidFile: '/run/pid' }, firmwareFile: '/fw' } as const;
  const plug = (generation: number, target: string, vdev: number) =>
    ({ generation, target, vdev, mode: 'w', serial: 'vd-1', endpoint: nbd, blockBytes: 4096 }) as const;
  const description = { name: 'a', firmware: '/fw', memory: '1G', console: 'unix:/so,ck', network: { bridge: 'br0' }, disks: [] };
  const args = machineArguments(description, [plug(18, '/dev/xvdb', 51728), plug(17, '/dev/xvda', 51712)], facts);
  assert.equal(args[args.indexOf('-bios') + 1], '/fw');
  assert.ok(!args.includes('-kernel') && !args.includes('-append'));
  const devices = args.filter((arg) => arg.includes('virtio-blk-pci')).map((arg) => JSON.parse(arg) as Record<string, unknown>);
  assert.deepEqual(
    devices.map(({ id, bootindex, logical_block_size }) => [id, bootindex, logical_block_size]),
    [
      ['vbd17.xvda', 1, 4096],
      ['vbd18.xvdb', 2, 4096],
    ],
  );
  assert.ok(args.includes('socket,id=console,path=/so,,ck,server=on,wait=off'));
  assert.ok(args.includes('bridge,id=net0,br=br0'));
});

test('guestCommandLine() leaves a console that the user chose', () => {
  assert.equal(guestCommandLine({ name: 'a', kernel: '/k', memory: '1G', cmdline: 'console=ttyS1 quiet', disks: [] }, []), 'console=ttyS1 quiet');
});

test('nodeOptions() of a reader is read-only, and knows both endpoints', () => {
  const node = nodeOptions({ generation: 17, mode: 'r', endpoint: nbd });
  assert.deepEqual([node['node-name'], node['read-only'], node['export'], node['server']], ['vbd17', true, 'web01/xvda@17', { type: 'unix', path: '/a,b' }]);
  assert.equal(nodeOptions({ generation: 1, mode: 'w', endpoint: { kind: 'block', path: '/dev/dm-1' } })['driver'], 'host_device');
});

test('deviceOptions() carries the serial number and reports errors to the guest', () => {
  const device = deviceOptions({ generation: 17, target: '/dev/xvda', serial: 'vd-5' }, slotOf(10));
  assert.deepEqual([device['id'], device['drive'], device['serial'], device['addr'], device['werror']], ['vbd17.xvda', 'vbd17', 'vd-5', '0xa', 'report']);
  assert.deepEqual([generationOfNode(nodeName(17)), generationOfNode('gone17'), generationOfNode('vbd0')], [17, null, null]);
});

test('deviceAt() and deviceOf() find a device by target and by generation', () => {
  const names = ['net0', 'vbd1.xvda', 'vbd17.xvdaa'];
  assert.deepEqual(
    [deviceAt(names, '/dev/xvda'), deviceAt(names, '/dev/xvdb'), deviceOf(names, 17), deviceOf(names, 7)],
    ['vbd1.xvda', undefined, 'vbd17.xvdaa', undefined],
  );
});

test('freeSlot() takes the lowest, and refuses when the bus is full', () => {
  assert.equal(freeSlot(new Set([3, 4, 6])), 5);
  assert.throws(
    () => freeSlot(new Set(Array.from({ length: 32 }, (_, slot) => slot))),
    (error) => error instanceof XvdError && error.code === 'LIMIT_REACHED',
  );
});
