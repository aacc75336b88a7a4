import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseDriver } from './choose-driver.ts';
import type { DriverFacts } from './choose-driver.ts';

const block = { path: '/dev/sda3', kind: 'block', blockBytes: 512 } as const;
const facts = (over: Partial<DriverFacts> = {}): DriverFacts => ({
  wanted: 'auto',
  here: ['dm', 'nbd'],
  consumerConnects: false,
  inUse: null,
  devices: [block],
  blockBytes: 512,
  filtered: false,
  cache: null,
  ...over,
});
const chosen = (driver: 'dm' | 'nbd') => ({ kind: 'chosen', driver }) as const;

test('auto takes device-mapper where the host has it and it can serve, else NBD', () => {
  assert.deepEqual(chooseDriver(facts()), chosen('dm'));
  assert.deepEqual(chooseDriver(facts({ here: ['nbd'] })), chosen('nbd'));
  const unfit: readonly Partial<DriverFacts>[] = [
    { consumerConnects: true },
    { devices: [block, { ...block, path: '/var/pool', kind: 'file' }] },
    { filtered: true },
    { cache: 'writeback' },
    { blockBytes: 4096 },
  ];
  for (const over of unfit) {
    assert.deepEqual(chooseDriver(facts(over)), chosen('nbd'), JSON.stringify(over));
    const refused = chooseDriver(facts({ ...over, wanted: 'dm' }));
    assert.ok(refused.kind === 'refused' && !refused.busy, JSON.stringify(over));
  }
  assert.deepEqual(chooseDriver(facts({ blockBytes: 4096, devices: [block, { ...block, blockBytes: 4096 }] })), chosen('dm'));
  assert.deepEqual(chooseDriver(facts({ cache: 'none' })), chosen('dm'));
});

test('what is asked for and not here is refused', () => {
  assert.deepEqual(chooseDriver(facts({ wanted: 'dm', here: ['nbd'] })), { kind: 'refused', busy: false, reason: 'this host has no device-mapper' });
  assert.deepEqual(chooseDriver(facts({ wanted: 'nbd' })), chosen('nbd'));
});

test('a source has one kind of path at a time', () => {
  assert.deepEqual(chooseDriver(facts({ inUse: 'nbd' })), chosen('nbd'));
  assert.deepEqual(chooseDriver(facts({ inUse: 'dm' })), chosen('dm'));
  for (const over of [
    { wanted: 'dm', inUse: 'nbd' },
    { wanted: 'nbd', inUse: 'dm' },
    { consumerConnects: true, inUse: 'dm' },
    { filtered: true, inUse: 'dm' },
  ] as const) {
    const refused = chooseDriver(facts(over));
    assert.ok(refused.kind === 'refused' && refused.busy, JSON.stringify(over));
  }
});
