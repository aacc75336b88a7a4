// The daemon wipes free space ahead of time, as far as its settings say.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';

const MIB = 2 ** 20;

test('the reserve is wiped in the background, and a disk made of it reads as zeros at once', async (t) => {
  const xvd = builtXvd(t, 40 * MIB);
  writeFileSync(xvd.pool, Buffer.alloc(40 * MIB, 0xee));
  const config = join(xvd.folder, 'xvd.toml');
  writeFileSync(config, 'clean_reserve = "20M"\nwipe_rate = "200M"\n');
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.serve('--config', config);
  const cleanBytes = async (): Promise<number> => (await xvd.json<{ cleanBytes: number }[]>('devices'))[0]?.cleanBytes ?? 0;
  await until('the reserve is clean', async () => (await cleanBytes()) >= 20 * MIB);
  await xvd.stopDaemon();
  assert.equal(await cleanBytes(), 20 * MIB);
  const { uname } = await xvd.json('create', '20M');
  const types = (await xvd.json<{ type: string }[]>('events')).map(({ type }) => type);
  assert.deepEqual([types.includes('pool.cleaned'), types.at(-1)], [true, 'disk.created']);
  const [first] = await xvd.json<{ startSector: number; sectors: number }[]>('extents', String(uname));
  const start = (first?.startSector ?? 0) * 512;
  assert.ok(
    readFileSync(xvd.pool)
      .subarray(start, start + 20 * MIB)
      .every((byte) => byte === 0),
    'I4',
  );
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
