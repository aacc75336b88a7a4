// Settings: what beats what, and that the example documents every key.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { XvdError } from '../base/error.ts';
import { resolveSettings } from './settings.ts';

function fileWith(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-settings-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'xvd.toml');
  writeFileSync(file, text);
  return file;
}

test('a flag beats a variable, which beats the file, which beats the default', async (t) => {
  const config = fileWith(t, 'state = "/of-file"\nrun = "/run-of-file"\nexpert = 2\n');
  const ofFile = await resolveSettings({ config }, {});
  assert.deepEqual([ofFile.stateFolder, ofFile.runFolder, ofFile.expert], ['/of-file', '/run-of-file', 2]);
  const variables = { XVD_STATE: '/of-variable', XVD_RUN: '/run-of-variable', XVD_EXPERT: '1' };
  const ofVariable = await resolveSettings({ config }, variables);
  assert.deepEqual([ofVariable.stateFolder, ofVariable.runFolder, ofVariable.expert], ['/of-variable', '/run-of-variable', 1]);
  const ofFlag = await resolveSettings({ config, stateFolder: '/of-flag', expert: 0 }, variables);
  assert.deepEqual([ofFlag.stateFolder, ofFlag.runFolder, ofFlag.expert], ['/of-flag', '/run-of-variable', 0]);
});

test('F15: an expert level is 0, 1 or 2, wherever it is set; an empty variable is none', async (t) => {
  for (const level of ['3', '-1', 'x', '1.5']) await assert.rejects(resolveSettings({}, { XVD_EXPERT: level }), { code: 'VALUE_INVALID' }, level);
  const config = fileWith(t, 'expert = 3\n');
  await assert.rejects(resolveSettings({ config }, {}), { code: 'VALUE_INVALID' });
  assert.equal((await resolveSettings({}, { XVD_EXPERT: '', XVD_STATE: '/s' })).expert, 0);
});

test('a file that is missing, malformed, or has an unknown key or a wrong kind of value is refused by name', async (t) => {
  await assert.rejects(resolveSettings({ config: '/no/such/file.toml' }, {}), { code: 'FILE_NOT_FOUND' });
  for (const text of ['state = ', 'colour = "blue"', 'state = 5', 'expert = "1"']) {
    await assert.rejects(resolveSettings({ config: fileWith(t, text) }, {}), { code: 'VALUE_INVALID', message: /xvd\.toml/ }, text);
  }
});

test('docs/xvd.toml.example documents every key, each with a value that is taken', async (t) => {
  const example = readFileSync(new URL('../../docs/xvd.toml.example', import.meta.url), 'utf8');
  const lines = [...example.matchAll(/^#(([a-z_]+) = .+)$/gm)];
  await resolveSettings({ config: fileWith(t, lines.map(([, line]) => line).join('\n')) }, {});
  const unknown: unknown = await resolveSettings({ config: fileWith(t, 'colour = 1') }, {}).catch((error: unknown) => error);
  assert.ok(unknown instanceof XvdError);
  assert.equal(unknown.fix, `Known here: ${lines.map(([, , key]) => key).join(', ')}.`);
});
