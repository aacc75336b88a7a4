import assert from 'node:assert/strict';
import { test } from 'node:test';
import { XvdError } from '../../base/error.ts';
import type { DomainDescription } from '../../core/types.ts';
import { AWAY_MS, lookAgain } from './follow-guests.ts';
import { diskSpecification, guestConfig } from './guest-config.ts';
import { parseList } from './guests.ts';
import type { ListedDomain } from './guests.ts';
import { failureOf } from './sentences.ts';
import { backendsOf, hasNoFolder, parseStore } from './xenstore.ts';

// As the lab's Xen 4.17 printed them.
const LIST = `Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label
Domain-0                                     0   512     2     r-----      54.3 00000000-0000-0000-0000-000000000000        -                -
web01                                        3   128     1     -b----       2.1 6d8e0a34-4b1f-4c5c-9a53-5a37a0d2a6b1        -                -
(null)                                       2     0     1     ----pd       3.0 33333333-2222-3333-4444-555555555555        0                -
going down                                   4   128     1     ---s--       1.0 11111111-2222-3333-4444-555555555555        1                -
put away                                     5   128     1     ---s--       1.0 22222222-2222-3333-4444-555555555555        2                -
`;

test('xl list -v: guests with their number, UUID, state and why they shut down; domain 0 is none', () => {
  assert.deepEqual(
    parseList(LIST).map(({ name, id, state, shutdown }) => [name, id, state, shutdown]),
    [
      ['web01', '3', 'running', null],
      ['going down', '4', 'stopping', '1'],
      ['put away', '5', 'suspended', '2'],
    ],
  );
  assert.deepEqual(parseList('no table at all\n'), []);
});

const STORE = `/local/domain/0/backend/vbd = ""
/local/domain/0/backend/vbd/3/51712/frontend = "/local/domain/3/device/vbd/51712"
/local/domain/0/backend/vbd/3/51712/params = "/dev/mapper/xvd-web01-xvda@17.1a2b3c4d"
/local/domain/0/backend/vbd/3/51712/script = "/etc/xen/scripts/block"
/local/domain/0/backend/vbd/3/51712/physical-device-path = "/dev/dm-0"
/local/domain/0/backend/vbd/3/51712/mode = "w"
/local/domain/0/backend/vbd/3/51712/state = "4"
/local/domain/0/backend/vbd/3/51728/frontend = "/local/domain/3/device/vbd/51728"
/local/domain/0/backend/vbd/3/51728/params = "/dev/sda2"
/local/domain/0/backend/vbd/3/51728/mode = "r"
/local/domain/0/backend/vbd/3/51728/hotplug-error = "Device /dev/sda2 is mounted\\nin a \\"guest\\""
/local/domain/0/backend/vif/3/0/frontend = "/local/domain/3/device/vif/0"
`;

test('xenstore: every block device that domain 0 serves, whole or half made, and nothing else', () => {
  const [first, second, ...more] = backendsOf(parseStore(STORE));
  assert.deepEqual(more, []);
  assert.deepEqual(first, {
    path: '/local/domain/0/backend/vbd/3/51712',
    domain: '3',
    vdev: 51712,
    mode: 'w',
    params: '/dev/mapper/xvd-web01-xvda@17.1a2b3c4d',
    node: '/dev/dm-0',
    script: '/etc/xen/scripts/block',
    state: 4,
    hotplugError: null,
    frontend: '/local/domain/3/device/vbd/51712',
  });
  assert.deepEqual([second?.mode, second?.state, second?.node, second?.hotplugError], ['r', 0, null, 'Device /dev/sda2 is mounted\nin a "guest"']);
  assert.deepEqual(backendsOf(parseStore('')), []);
});

const description: DomainDescription = {
  name: 'web01',
  kernel: '/boot/vmlinuz',
  memory: '128M',
  root: '/dev/xvda ro',
  cmdline: 'quiet say="hello"',
  network: { ip: '10.0.0.2', netmask: '255.255.255.0', gateway: '10.0.0.1', bridge: 'br0' },
  onExit: 'stop',
  disks: [],
};

test('a description becomes a file that xl reads; what Xen has not got is refused by name', () => {
  const text = guestConfig(description, [{ target: '/dev/xvda', mode: 'r', node: '/dev/mapper/xvd-web01-xvda@17.1a2b3c4d' }]);
  assert.match(text, /^name = "web01"$/m);
  assert.match(text, /^extra = 'console=hvc0 root=\/dev\/xvda ro ip=10\.0\.0\.2::10\.0\.0\.1:255\.255\.255\.0::.*quiet say="hello"'$/m);
  assert.match(text, /^on_reboot = "destroy"$/m);
  assert.match(text, /^disk = \["format=raw,vdev=xvda,access=ro,backendtype=phy,target=\/dev\/mapper\/xvd-web01-xvda@17\.1a2b3c4d"\]$/m);
  assert.match(text, /^vif = \["bridge=br0"\]$/m);
  assert.equal(diskSpecification({ target: 'xvdb1', mode: 'w', node: '/dev/a,b' }), 'format=raw,vdev=xvdb1,access=rw,backendtype=phy,target=/dev/a,b');
  const { kernel: _, ...without } = description;
  const refused = (change: DomainDescription, code: string): void =>
    assert.throws(
      () => guestConfig(change, []),
      (error: unknown) => error instanceof XvdError && error.code === code,
    );
  refused(without, 'NOT_SUPPORTED');
  refused({ ...description, firmware: 'uefi' }, 'NOT_SUPPORTED');
  refused({ ...description, console: '/var/log/web01' }, 'NOT_SUPPORTED');
  refused({ ...description, cmdline: `say="it's"` }, 'VALUE_INVALID');
  refused({ ...description, cmdline: 'quiet\nname = "other"' }, 'VALUE_INVALID');
});

test('what Xen says becomes a sentence with what to do; what is not known is said as it is', () => {
  const said =
    'libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /etc/xen/scripts/block add [7] exited with error status 1\nDevice /dev/dm-3 is mounted in a guest domain,\nand so cannot be mounted now.';
  assert.match(failureOf('xvdb', said).message, /^xvdb: another guest has it \(.*is mounted in a guest domain/);
  assert.equal(failureOf('xvdb', said).code, 'HYPERVISOR_FAILED');
  assert.match(failureOf('xvdb', 'something new').message, /xvdb: something new/);
  assert.match(failureOf('xvdb', '').message, /without a word/);
});

const guest = (name: string, id: string, shutdown: ListedDomain['shutdown'] = null): ListedDomain => ({
  name,
  id,
  uuid: `uuid-${name}`,
  state: 'running',
  shutdown,
});

test('a guest has ended when it stays away; one that reboots gets another number, one that is saved stays known', () => {
  let look = lookAgain(new Map(), [guest('web01', '3'), guest('db01', '4'), guest('put', '5')], 0);
  assert.equal(look.undecided, false);
  look = lookAgain(look.followed, [guest('web01', '3'), guest('put', '5', '2')], 1000);
  assert.deepEqual([look.ended, look.undecided], [[], true]);
  look = lookAgain(look.followed, [guest('web01', '3'), guest('db01', '6')], 2000);
  assert.deepEqual([look.ended, look.undecided, look.followed.has('uuid-put')], [[], false, false], 'one is back, the other is in a file');
  look = lookAgain(look.followed, [guest('db01', '6')], 3000);
  look = lookAgain(look.followed, [guest('db01', '6')], 3000 + AWAY_MS - 1);
  assert.deepEqual(look.ended, []);
  look = lookAgain(look.followed, [guest('db01', '6')], 3000 + AWAY_MS);
  assert.deepEqual(
    look.ended.map(({ name }) => name),
    ['web01'],
  );
  assert.equal(look.undecided, false);
});

test('no folder in xenstore is nothing there; no xenstored is no answer', () => {
  assert.equal(hasNoFolder('xenstore-ls: xs_directory (/local/domain/0/backend): No such file or directory\n'), true);
  assert.equal(hasNoFolder('xenstore-ls: xs_open: No such file or directory\n'), false);
  assert.equal(hasNoFolder('xenstore-ls: xs_directory (/local/domain/0/backend): Permission denied\n'), false);
  assert.equal(hasNoFolder(''), false);
});
