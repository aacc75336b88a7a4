// Words of a command reach a pipe whole, whether it is read at once, late or no more.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

const output = new URL('./output.ts', import.meta.url).href;
const LINES = 200_000;

/** Prints LINES lines, tells on standard error that it begins, and leaves with 7. */
const printing = (blocking: boolean): string => `
  import { leave, print } from ${JSON.stringify(output)};
  ${blocking ? '' : 'process.stdout._handle.setBlocking(false);'}
  print(2, 'begins');
  for (let line = 0; line < 100; line += 1) print(1, (line + '\\n').repeat(${LINES / 100}));
  leave(7);`;

async function run(source: string, read: boolean): Promise<{ text: string; status: number }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  await once(child.stderr, 'data');
  let text = '';
  if (read) child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  else child.stdout.destroy();
  const [status] = (await ended) as [number];
  return { text, status };
}

for (const blocking of [true, false]) {
  test(`all of it arrives through a pipe that ${blocking ? 'waits' : 'does not wait'} for its reader`, async () => {
    const { text, status } = await run(printing(blocking), true);
    assert.equal(text.split('\n').length - 1, LINES);
    assert.equal(text.slice(-3), '99\n');
    assert.equal(status, 7);
  });
}

test('a reader that has gone is no failure', async () => {
  assert.equal((await run(printing(true), false)).status, 0);
});
