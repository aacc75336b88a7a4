// The built command with a catalog, sockets and a sparse pool file of its own, and a daemon when one is asked for. What it
// leaves behind is taken away however the test ended: VBDs, the daemon, files.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';

const bin = resolve(import.meta.dirname, '../../bin');

export type Ran = { readonly status: number | null; readonly out: string; readonly err: string };
export type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string; readonly body: unknown };
type AskOptions = { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> };

export type BuiltXvd = {
  readonly folder: string;
  readonly pool: string;
  readonly socket: string;
  readonly environment: Readonly<Record<string, string>>;
  /** `xvd WORDS`. */
  run(...words: readonly string[]): Promise<Ran>;
  /** `bin/NAME WORDS`: an old command. */
  old(name: string, ...words: readonly string[]): Promise<Ran>;
  /** `xvd WORDS --json`, which must succeed and print JSON and nothing else. */
  json<T = Record<string, unknown>>(...words: readonly string[]): Promise<T>;
  /** `xvd WORDS --json`, which must fail with this status and code, as the contract says. */
  refused(status: number, code: string, ...words: readonly string[]): Promise<Record<string, unknown>>;
  /** Formats the pool file. */
  format(): Promise<void>;
  serve(...words: readonly string[]): Promise<ChildProcess>;
  stopDaemon(): Promise<void>;
  /** A request on the daemon's socket. */
  ask(method: string, path: string, options?: AskOptions): Promise<Answer>;
};

export function builtXvd(t: TestContext, poolBytes = 300 * 2 ** 20): BuiltXvd {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-built-'));
  const pool = join(folder, 'pool.img');
  writeFileSync(pool, '');
  truncateSync(pool, poolBytes);
  const { PATH = '/usr/bin:/bin', HOME = folder } = process.env;
  const environment = { PATH, HOME, NO_COLOR: '1', XVD_STATE: join(folder, 'state'), XVD_RUN: join(folder, 'run') };
  const socket = join(environment.XVD_RUN, 'api.sock');
  let daemon: ChildProcess | null = null;
  const start = (name: string, words: readonly string[]): ChildProcess =>
    spawn(join(bin, name), words, { env: environment, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const xvd: BuiltXvd = {
    folder,
    pool,
    socket,
    environment,
    run: (...words) => ended(start('xvd', words)),
    old: (name, ...words) => ended(start(name, words)),
    async json<T>(...words: readonly string[]): Promise<T> {
      const { status, out, err } = await xvd.run(...words, '--json');
      assert.equal(status, 0, `xvd ${words.join(' ')}: ${out}${err}`);
      return JSON.parse(out) as T;
    },
    async refused(status, code, ...words) {
      const ran = await xvd.run(...words, '--json');
      assert.equal(ran.status, status, `xvd ${words.join(' ')}: ${ran.out}${ran.err}`);
      return errorIn(ran, code);
    },
    format: async () => void (await xvd.json('format', pool)),
    async serve(...words) {
      const child = start('xvd', ['serve', '--json', ...words]);
      daemon = child;
      const said = { out: '', err: '' };
      child.stdout?.on('data', (chunk: Buffer) => void (said.out += chunk.toString()));
      child.stderr?.on('data', (chunk: Buffer) => void (said.err += chunk.toString()));
      await until('the daemon is ready', () => {
        if (child.exitCode !== null) throw new Error(`the daemon ended: ${said.out}${said.err}`);
        return said.out.includes('"ready":true');
      });
      return child;
    },
    async stopDaemon() {
      if (daemon === null || daemon.exitCode !== null || daemon.signalCode !== null) return;
      const gone = new Promise((done) => daemon?.once('exit', done));
      daemon.kill('SIGTERM');
      await gone;
    },
    ask: (method, path, options = {}) => ask(socket, method, path, options),
  };
  t.after(async () => {
    try {
      endGuests(join(environment.XVD_RUN, 'domains'));
      await endVbds(xvd, daemon !== null);
      await xvd.stopDaemon();
    } finally {
      // A process that writes labels may still be at it.
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
    }
  });
  return xvd;
}

/** Guests outlive the daemon, and a test that failed. */
function endGuests(folder: string): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const pidFile = join(folder, name, 'pid');
    if (existsSync(pidFile)) process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
  }
}

/** Connection processes outlive the daemon, so VBDs must end by a daemon that runs. */
async function endVbds(xvd: BuiltXvd, served: boolean): Promise<void> {
  if (!served) return;
  const { status, out } = await xvd.run('vbds', '--json');
  const left = status === 0 ? (JSON.parse(out) as { domain: string; target: string; state: string }[]) : [];
  if (left.length === 0) return;
  if ((await xvd.ask('GET', '/healthz').catch(() => null)) === null) await xvd.serve();
  for (const { domain, target } of left) await xvd.run('detach', target, domain, '--force');
}

async function ended(child: ChildProcess): Promise<Ran> {
  const { stdout, stderr } = child;
  assert.ok(stdout !== null && stderr !== null);
  const status = new Promise<number | null>((done) => child.once('close', done));
  const [out, err] = await Promise.all([text(stdout), text(stderr)]);
  return { status: await status, out, err };
}

/** `{"error": {code, message, fix}}` on standard output, nothing beside it, and never a stack trace. */
export function errorIn({ out, err }: Ran, code: string): Record<string, unknown> {
  const { error, ...rest } = JSON.parse(out) as { error: Record<string, unknown> };
  assert.deepEqual(rest, {});
  assert.equal(error['code'], code, out);
  assert.equal(typeof error['message'], 'string');
  assert.ok(typeof error['fix'] === 'string' && error['fix'] !== '', out);
  for (const said of [out, err]) assert.doesNotMatch(said, /^\s+at .+:\d+/m, 'a stack trace');
  assert.doesNotMatch(out, /\.(ts|js):\d+/);
  return error;
}

function ask(socketPath: string, method: string, path: string, { body, headers = {} }: AskOptions): Promise<Answer> {
  const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const answer = Promise.withResolvers<Answer>();
  const sent = request(
    { socketPath, method, path, agent: false, headers: { ...(payload === undefined ? {} : { 'content-type': 'application/json' }), ...headers } },
    (incoming) => {
      text(incoming).then((said) => {
        const isJson = /json/.test(incoming.headers['content-type'] ?? '');
        answer.resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: said, body: isJson ? JSON.parse(said) : null });
      }, answer.reject);
    },
  );
  sent.once('error', answer.reject);
  sent.end(payload);
  return answer.promise;
}

/** The same keys, whatever their order; more is allowed where the contract lets an object grow. */
export function hasKeys(value: unknown, keys: readonly string[]): void {
  const got = Object.keys(value as object);
  const missing = keys.filter((key) => !got.includes(key));
  assert.deepEqual(missing, [], `missing in ${JSON.stringify(value)}`);
}
