import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineDomain, kernelCommandLine, validateDescription } from './domain-description.ts';

const whole = defineDomain({
  name: 'web01',
  hypervisor: 'qemu',
  kernel: '/boot/vmlinuz',
  ramdisk: '/boot/initrd',
  memory: '512M',
  vcpus: 2,
  cmdline: 'quiet panic=1',
  root: '/dev/xvda ro',
  expert: 1,
  network: { ip: '10.0.0.2', netmask: '255.255.255.0', gateway: '10.0.0.1', hostname: 'web01', bridge: 'br0' },
  console: '/var/log/web01.log',
  onExit: 'restart',
  disks: [
    { source: 'vd:5', target: '/dev/xvda', mode: 'w' },
    { source: 'phy:sdb1', target: 'xvdb', mode: 'r' },
  ],
});
const least = { name: 'web01', kernel: '/boot/vmlinuz', memory: '512M', disks: [] };

const refuses = (value: unknown, message: RegExp, code = 'VALUE_INVALID'): void =>
  assert.throws(
    () => validateDescription(value),
    (error: { code: string; message: string }) => {
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    },
  );

test('validateDescription() takes all that can be said, and the least', () => {
  assert.deepEqual(validateDescription(structuredClone(whole)), whole);
  assert.deepEqual(validateDescription(least), least);
});

test('a firmware boots without a kernel, and then takes nothing that is for one; a bridge may be a name', () => {
  const { kernel: _, ...bare } = least;
  assert.deepEqual(validateDescription({ ...bare, firmware: 'bios' }), { ...bare, firmware: 'bios' });
  for (const key of ['ramdisk', 'cmdline', 'root']) refuses({ ...bare, firmware: 'uefi', [key]: 'x' }, new RegExp(`^${key}: .*kernel`));
  assert.deepEqual(validateDescription({ ...least, network: 'br0' }), { ...least, network: { bridge: 'br0' } });
  refuses({ ...least, network: '' }, /^network/);
});

test('an unknown key is an error that names it, at every depth', () => {
  refuses({ ...least, memroy: '1G' }, /^memroy: unknown key/);
  refuses({ ...whole, network: { ...whole.network, dns: '1.1.1.1' } }, /^network\.dns: unknown key/);
  refuses({ ...whole, disks: [{ source: 'vd:5', target: 'xvda', mode: 'w', size: 1 }] }, /^disks\[0\]\.size: unknown key/);
});

test('a missing value is an error that names it', () => {
  for (const key of ['name', 'kernel', 'memory', 'disks'] as const) {
    const { [key]: _, ...rest } = least;
    refuses(rest, new RegExp(`^${key}: .*nothing`));
  }
  refuses({ ...least, disks: [{ source: 'vd:5', target: 'xvda' }] }, /^disks\[0\]\.mode/);
});

test('a value of a wrong type or out of range is an error that names it', () => {
  for (const value of [null, 'web01', 5, [], undefined]) refuses(value, /an object is wanted/);
  refuses({ ...least, name: 5 }, /^name/);
  refuses({ ...least, name: '17' }, /^name/);
  refuses({ ...least, name: 'a b' }, /^name/);
  refuses({ ...least, kernel: '' }, /^kernel/);
  refuses({ ...least, memory: 512 }, /^memory/);
  refuses({ ...least, memory: '512' }, /^memory: .*no unit/);
  refuses({ ...least, vcpus: 0 }, /^vcpus/);
  refuses({ ...least, vcpus: 1.5 }, /^vcpus/);
  refuses({ ...least, hypervisor: 'kvm' }, /^hypervisor/);
  refuses({ ...least, expert: 3 }, /^expert/);
  refuses({ ...least, expert: '1' }, /^expert/);
  refuses({ ...least, onExit: 'reboot' }, /^onExit/);
  refuses({ ...least, network: [] }, /^network/);
  for (const ip of ['10.0.0', '10.0.0.256', '::1', 5, '10.0.0.1 init=/bin/sh']) refuses({ ...least, network: { ip } }, /^network\.ip/);
  for (const hostname of ['', 'a b', 'a:b', '-a', 5]) refuses({ ...least, network: { hostname } }, /^network\.hostname/);
  refuses({ ...least, disks: {} }, /^disks/);
  refuses({ ...least, disks: ['vd:5'] }, /^disks\[0\]/);
  refuses({ ...least, disks: [{ source: '5', target: 'xvda', mode: 'w' }] }, /^disks\[0\]\.source/);
  refuses({ ...least, disks: [{ source: 'vd:5', target: 'hde', mode: 'w' }] }, /^disks\[0\]\.target/);
  refuses({ ...least, disks: [{ source: 'vd:5', target: 'xvda', mode: 'rw' }] }, /^disks\[0\]\.mode/);
  refuses({ ...least, disks: [{ source: 'vd:0', target: 'xvda', mode: 'w' }] }, /^disks\[0\]\.source/, 'DISK_NOT_FOUND');
});

test('a target is there once, by whatever spelling', () => {
  refuses(
    {
      ...least,
      disks: [
        { source: 'vd:5', target: 'xvda', mode: 'w' },
        { source: 'vd:6', target: '/dev/xvda', mode: 'r' },
      ],
    },
    /twice/,
  );
});

test('a key of the prototype is no key', () => {
  refuses(JSON.parse('{"name":"a","kernel":"/k","memory":"1G","disks":[],"__proto__":{}}'), /__proto__: unknown key/);
  refuses({ ...least, constructor: 1 }, /^constructor: unknown key/);
});

test('the command line of the kernel: root, ip as the kernel reads it, then the own words', () => {
  assert.equal(kernelCommandLine(whole), 'root=/dev/xvda ro ip=10.0.0.2::10.0.0.1:255.255.255.0:web01::off quiet panic=1');
  assert.equal(kernelCommandLine(whole, '/dev/vda'), 'root=/dev/vda ro ip=10.0.0.2::10.0.0.1:255.255.255.0:web01::off quiet panic=1');
  assert.equal(kernelCommandLine(least), '');
  assert.equal(kernelCommandLine({ ...least, network: { ip: '10.0.0.2' } }), 'ip=10.0.0.2::::::off');
});
