import assert from 'node:assert/strict';
import { test } from 'node:test';
import { XvdError } from '../../base/error.ts';
import { isKeptByOthers } from './create-by-kernel.ts';

const isKept = (message: string, details: Readonly<Record<string, unknown>>): boolean => isKeptByOthers(new XvdError('PROGRAM_FAILED', message, { details }));

test('only a table that the kernel refuses as busy tells of somebody who keeps a device', () => {
  assert.equal(isKept('device-mapper: load x: resource busy or locked', { step: 'load', status: 16 }), true);
  assert.equal(isKept('device-mapper: resume x: resource busy or locked', { step: 'resume', status: 16 }), false);
  assert.equal(isKept('device-mapper: load xvd-busybox-xvda@7: invalid argument', { step: 'load', status: 22 }), false);
});

test('so of dmsetup, by its words and not by the name of the device', () => {
  const stderr = (step: string, reason: string): string =>
    `device-mapper: ${step} ioctl on xvd-busybox-xvda@7.1a2b3c4d (253:0) failed: ${reason}\nCommand failed.\n`;
  assert.equal(isKept('dmsetup', { status: 1, stderr: stderr('reload', 'Device or resource busy') }), true);
  assert.equal(isKept('dmsetup create xvd-busybox-xvda@7', { status: 1, stderr: stderr('reload', 'Invalid argument') }), false);
  assert.equal(isKept('dmsetup', { status: 1, stderr: stderr('remove', 'Device or resource busy') }), false);
  assert.equal(isKept('dmsetup is not installed, and I am busy', {}), false);
});
