import assert from 'node:assert/strict';
import { test } from 'node:test';

import { XvdError } from '../base/error.ts';
import { kernelCommandLine, validateDescription } from './domain-description.ts';

const web = { name: 'web01', kernel: '/boot/vmlinuz', memory: '512M', disks: [{ source: 'vd:5', target: '/dev/xvda', mode: 'w' }] };
const refused = (value: unknown, names: RegExp): void => assert.throws(() => validateDescription(value), (error) => error instanceof XvdError && error.exit === 2 && names.test(error.message), JSON.stringify(value));

test('validateDescription() takes what the contract lists', () => {
  const full = { ...web, hypervisor: 'qemu', ramdisk: '/r', vcpus: 2, cmdline: 'quiet', root: '/dev/xvda ro', expert: 1, network: { ip: '10.0.0.2', netmask: '255.0.0.0', gateway: '10.0.0.1', hostname: 'w' }, console: '/c', onExit: 'restart' };
  for (const value of [web, full]) assert.deepEqual(validateDescription(value), value);
});

test('validateDescription() names what is unknown, missing or wrong', () => {
  refused({ ...web, vcpu: 2 }, /vcpu/);
  refused({ ...web, disks: [{ ...web.disks[0], readonly: true }] }, /disks\[0\]\.readonly/);
  refused({ ...web, memory: '512' }, /memory/);
  refused({ ...web, memory: 512 }, /memory/);
  refused({ ...web, name: '7' }, /name/);
  refused({ ...web, expert: 3 }, /expert/);
  refused({ ...web, vcpus: 0 }, /vcpus/);
  refused({ ...web, network: { ip: '10.0.0.256' } }, /network\.ip/);
  refused({ ...web, disks: [{ ...web.disks[0], source: 'file:x' }] }, /disks\[0\]\.source/);
  refused({ ...web, disks: [{ ...web.disks[0], target: 'hde' }] }, /disks\[0\]\.target/);
  refused({ ...web, disks: [...web.disks, { ...web.disks[0], target: 'xvda' }] }, /xvda/);
  for (const key of ['name', 'kernel', 'memory', 'disks']) refused({ ...web, [key]: undefined }, new RegExp(key));
  for (const value of [null, [], 'web', 7]) refused(value, /object/);
  for (const key of ['constructor', '__proto__', 'toString']) refused(JSON.parse(`{"${key}": 1, "name": "a"}`), new RegExp(key));
});

test('kernelCommandLine() has root, ip and the words of the user, in this order', () => {
  const description = validateDescription({ ...web, root: '/dev/xvda ro', cmdline: 'quiet', network: { ip: '10.0.0.2', gateway: '10.0.0.1' } });
  assert.equal(kernelCommandLine(description), 'root=/dev/xvda ro ip=10.0.0.2::10.0.0.1:::off quiet'.replace(':::off', '::::off'));
  assert.match(kernelCommandLine(description, '/dev/vda'), /^root=\/dev\/vda ro /);
});
