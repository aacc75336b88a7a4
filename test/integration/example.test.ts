// The example of the library, as its users run it: against the built package.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { builtXvd } from './built-xvd.ts';

test('the example of the library runs against the built package and says what the commands would', (t) => {
  const xvd = builtXvd(t);
  const example = resolve(import.meta.dirname, '../../examples/lease.ts');
  const ran = spawnSync(process.execPath, [example, xvd.pool], { env: xvd.environment, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stdout, /^vd:1 lives until \d{4}-.*Z$/m);
  assert.match(ran.stdout, /^restored: live, 0 bytes lost$/m);
  assert.match(ran.stdout, /^POOL_FULL: /m);
});
