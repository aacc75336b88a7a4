// A consumer that reconnects by itself, as QEMU does: it finds its own VBD again and no other, whatever was done to it meanwhile.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd } from './built-xvd.ts';
import { contentOf, countersIn, must, processesOf } from './guest-disk.ts';
import type { Vbd } from './guest-disk.ts';

const MIB = 2 ** 20;

/** QEMU's own block layer over NBD, by the commands of qemu-io. */
class Consumer {
  readonly socket: string;
  said = '';
  readonly #child;
  constructor(t: TestContext, { uri }: Vbd) {
    const { pathname, searchParams } = new URL(uri);
    this.socket = searchParams.get('socket') ?? '';
    const name = decodeURIComponent(pathname.slice(1));
    const image = `driver=nbd,server.type=unix,server.path=${this.socket},export=${name},reconnect-delay=4`;
    this.#child = spawn('qemu-io', ['--image-opts', image], { stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on('data', (chunk: Buffer) => void (this.said += chunk.toString()));
    t.after(() => void this.#child.kill('SIGKILL'));
  }
  /** One at a time: it looks at its input when that is new, and takes one line. */
  type(command: string): void {
    this.#child.stdin.write(`${command}\n`);
  }
  async says(pattern: RegExp): Promise<void> {
    await until(`qemu-io says ${pattern}`, () => pattern.test(this.said), 60_000);
  }
  async end(): Promise<void> {
    this.#child.stdin.end('quit\n');
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

async function twoDisks(t: TestContext): Promise<BuiltXvd> {
  const xvd = builtXvd(t, 64 * MIB);
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.serve();
  for (const name of ['first', 'second']) await xvd.json('create', '4M', '--name', name);
  return xvd;
}
const attach = (xvd: BuiltXvd, disk: string): Promise<Vbd> => xvd.json<Vbd>('attach', disk, 'xvda', 'app', 'w', '--driver', 'nbd');

test('kill -9 of a connection process: the reconnect carries on, and what it writes and reads is right', async (t) => {
  const xvd = await twoDisks(t);
  const vbd = await attach(xvd, 'vd:first');
  const consumer = new Consumer(t, vbd);
  consumer.type('write -P 0x41 0 1M');
  await consumer.says(/wrote 1048576\/1048576 bytes at offset 0/);
  for (let round = 1; round <= 3; round += 1) {
    const [pid] = await until('a process serves it', () => (processesOf(xvd, vbd.generation).length > 0 ? processesOf(xvd, vbd.generation) : null));
    process.kill(pid ?? 0, 'SIGKILL');
    consumer.type(`write -P ${0x41 + round} ${round}M 512k`);
    await consumer.says(new RegExp(`wrote 524288/524288 bytes at offset ${round * MIB}`));
    consumer.type(`read -P ${0x41 + round} ${round}M 512k`);
    await consumer.says(new RegExp(`read 524288/524288 bytes at offset ${round * MIB}`));
  }
  await consumer.end();
  assert.doesNotMatch(consumer.said, /verification failed|error/i);
  await xvd.json('detach', 'xvda', 'app');
  const content = await contentOf(xvd, 'vd:first');
  assert.deepEqual([content[0], content[MIB], content[2 * MIB], content[3 * MIB], content[MIB + MIB / 2]], [0x41, 0x42, 0x43, 0x44, 0]);
});

type Load = {
  /** Requests that the VBD has answered so far. */
  answered(): number;
  /** Ends it: its errors, and how many reads it compared. */
  end(): Promise<{ error: number; reads: number }>;
};

/** fio, which can't reconnect, writes and reads back what it wrote until it is told to end. The first wrong byte or error ends it. */
function verifyingLoad(t: TestContext, xvd: BuiltXvd, { uri, generation }: Vbd): Load {
  const shape = ['--rw=randwrite', '--bsrange=4k-64k', '--size=4M', '--iodepth=8', '--fsync=32', '--time_based', '--runtime=600'];
  const verify = ['--verify=crc32c', '--verify_backlog=64', '--verify_fatal=1', '--verify_state_save=0'];
  const report = join(xvd.folder, 'fio.json');
  const words = ['--name=v', '--ioengine=nbd', '--thread', `--uri=${uri}`, ...shape, ...verify, '--output-format=json', `--output=${report}`];
  const fio = spawn('fio', words, { stdio: 'ignore', cwd: xvd.folder });
  const ended = once(fio, 'exit');
  t.after(() => void fio.kill('SIGKILL'));
  return {
    answered() {
      assert.equal(fio.exitCode, null, 'the load goes on');
      const { reads, writes } = countersIn(xvd, generation);
      return reads + writes;
    },
    async end() {
      fio.kill('SIGINT');
      await ended;
      // What it says to people comes before.
      const said = readFileSync(report, 'utf8');
      const { jobs } = JSON.parse(said.slice(said.indexOf('\n{'))) as { jobs: { error: number; read: { total_ios: number } }[] };
      return { error: jobs[0]?.error ?? NaN, reads: jobs[0]?.read.total_ios ?? 0 };
    },
  };
}

/** That its daemon counts. */
async function connectionsOf(xvd: BuiltXvd, { generation }: Vbd): Promise<number> {
  const metrics = (await xvd.ask('GET', '/metrics')).text;
  return Number(new RegExp(`^xvd_vbd_connections\\{[^}]*generation="${generation}"[^}]*\\} (\\d+)$`, 'm').exec(metrics)?.[1]);
}

test('kill -9 of the daemon, again and again under a load that verifies: it meets no error, and each new daemon knows its connection', async (t) => {
  const xvd = builtXvd(t, 64 * MIB);
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  let daemon = await xvd.serve();
  await xvd.json('create', '4M', '--name', 'first');
  const vbd = await attach(xvd, 'vd:first');
  const load = verifyingLoad(t, xvd, vbd);
  const goesOn = async (): Promise<void> => {
    const before = load.answered();
    await until('the load goes on', () => load.answered() > before + 200);
  };
  await goesOn();
  for (let round = 0; round < 3; round += 1) {
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
    await goesOn();
    daemon = await xvd.serve();
    const known = await xvd.json<Vbd[]>('vbds');
    assert.deepEqual(
      known.map(({ generation, state, uri }) => [generation, state, uri]),
      [[vbd.generation, 'attached', vbd.uri]],
    );
    await until('its connection is counted, and no other', async () => (await connectionsOf(xvd, vbd)) === 1);
    // Whoever comes now is served by it beside the load.
    assert.equal((await must('nbdinfo', '--size', vbd.uri)).trim(), String(4 * MIB));
    await goesOn();
  }
  const { error, reads } = await load.end();
  assert.equal(error, 0);
  assert.ok(reads > 0, 'it has read back what it wrote');
  await until('its connection has ended', async () => (await connectionsOf(xvd, vbd)) === 0);
  await xvd.json('detach', 'xvda', 'app');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a write that was in flight when its VBD was revoked never reaches the next owner of the name, nor its own disk later', async (t) => {
  const xvd = await twoDisks(t);
  const old = await attach(xvd, 'vd:first');
  const consumer = new Consumer(t, old);
  consumer.type('write -P 0x41 0 64k');
  await consumer.says(/wrote 65536\/65536 bytes at offset 0/);
  for (const pid of processesOf(xvd, old.generation)) process.kill(pid, 'SIGSTOP');
  consumer.type('aio_write -P 0x58 0 2M');
  await xvd.json('detach', 'xvda', 'app', '--force');
  const now = await attach(xvd, 'vd:second');
  assert.ok(now.generation > old.generation);
  assert.ok(!existsSync(consumer.socket), 'what it knew leads nowhere');
  consumer.type('aio_flush');
  await consumer.says(/aio_write failed|Input\/output error|Connection|Transport/i);
  await consumer.end();
  await xvd.json('detach', 'xvda', 'app');
  assert.ok(
    (await contentOf(xvd, 'vd:second')).every((byte) => byte === 0),
    'not one byte of it',
  );
  const first = await contentOf(xvd, 'vd:first');
  assert.ok(first.subarray(0, 65_536).every((byte) => byte === 0x41) && !first.includes(0x58));
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
