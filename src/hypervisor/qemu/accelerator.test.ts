import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPrograms } from '../../host/programs.ts';
import { chooseAccelerator, runsUnder } from './accelerator.ts';

const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });

test('runsUnder() sees 64-bit code run under emulation', async () => {
  assert.equal(await runsUnder(programs, 'tcg'), true);
});

test('chooseAccelerator() takes KVM only when it ran that code', async () => {
  assert.equal(await chooseAccelerator(programs), (await runsUnder(programs, 'kvm')) ? 'kvm' : 'tcg');
});
