// Shared by kills.ts and resets.ts: what must hold after any crash. Asked of the daemon, the kernel and the bytes themselves.

import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, constants, existsSync, fsyncSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const runFolder = process.env['XVD_RUN'] ?? '';
export const slotBytes = 4096;
export const slots = 64;

export type Vbd = { readonly domain: string; readonly target: string; readonly source: string; readonly generation: number; readonly state: string };
export type Disk = { readonly id: number; readonly state: string; readonly name: string | null; readonly vbds: readonly unknown[] };

/** Answers of 4xx and 5xx are thrown, with their text. */
export function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sent = request({ socketPath: `${runFolder}/api.sock`, agent: false, method, path: `/api/v1${path}`, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.once('error', reject);
      answer.once('end', () => ((answer.statusCode ?? 500) >= 300 ? reject(new Error(text)) : resolve(JSON.parse(text) as T)));
    });
    sent.once('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

export async function startDaemon(): Promise<ChildProcess> {
  const log = openSync(`${process.env['LAB_RESULTS']}/daemon.log`, 'a');
  const child = spawn('xvd', ['serve'], { stdio: ['ignore', 'ignore', log] });
  closeSync(log);
  await until('the daemon answers', () => call('GET', '/vbds').then(() => true));
  return child;
}

export async function until(what: string, is: () => boolean | Promise<boolean>, seconds = 300): Promise<void> {
  let last: unknown = null;
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await delay(100)) {
    try {
      if (await is()) return;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`never true: ${what}${last instanceof Error ? ` (${last.message})` : ''}`);
}

export function run(program: string, args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(program, args, { encoding: 'utf8' });
}

/** Generations of the device-mapper devices that lead anywhere, and the targets that open on this host. */
function reachable(): { readonly generations: readonly number[]; readonly targets: readonly string[] } {
  const devices = readdirSync('/sys/block').filter((name) => name.startsWith('dm-') && readdirSync(`/sys/block/${name}/slaves`).length > 0);
  const uuids = devices.map((name) => readFileSync(`/sys/block/${name}/dm/uuid`, 'utf8').trim()).filter((uuid) => uuid.startsWith('XVD-'));
  const targets = readdirSync('/dev').filter((name) => /^xvd[a-z]+$/.test(name));
  return { generations: uuids.map((uuid) => Number(uuid.slice(uuid.lastIndexOf('-') + 1))), targets: targets.map((name) => `/dev/${name}`) };
}

/** Nothing is reachable that the catalog does not know, everything that it calls attached is, and the pool checks clean. */
export async function verify(): Promise<void> {
  await until('what is attached is what the catalog says', async () => {
    const rows = await call<Vbd[]>('GET', '/vbds');
    const { generations, targets } = reachable();
    const same = (one: readonly unknown[], other: readonly unknown[]): boolean => one.toSorted().join() === other.toSorted().join();
    if (rows.some(({ state }) => state !== 'attached')) throw new Error(JSON.stringify(rows));
    const known = same(
      rows.map(({ generation }) => generation),
      generations,
    );
    const named = same(
      rows.map(({ target }) => target),
      targets,
    );
    if (!known || !named) throw new Error(JSON.stringify({ rows, generations, targets }));
    return true;
  });
  const { status, stdout, stderr } = run('xvd', ['check', '--repair', '--json']);
  if (status !== 0) throw new Error(`check: ${stdout}${stderr}`);
}

/** Writes to a VBD that were acknowledged as durable, by slot. What was written and not yet noted is newer, and as good. */
export class Ledger {
  readonly #target: string;
  readonly #noted = new Map<number, number>();
  /** null: only in memory, for crashes that this process survives. */
  readonly #file: number | null;
  #value = 0;

  constructor(target: string, file: string | null) {
    this.#target = target;
    if (file !== null && existsSync(file))
      for (const line of readFileSync(file, 'utf8').split('\n')) {
        const [slot = '', value = '', end] = line.split(' ');
        if (end === '.') this.#noted.set(Number(slot), Number(value));
      }
    this.#value = Math.max(0, ...this.#noted.values());
    this.#file = file === null ? null : openSync(file, 'a');
  }

  write(slot: number): void {
    const fd = openSync(this.#target, constants.O_RDWR);
    try {
      this.#value += 1;
      writeSync(fd, Buffer.alloc(slotBytes, `${slot} ${this.#value}\n`), 0, slotBytes, slot * slotBytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    this.#noted.set(slot, this.#value);
    if (this.#file === null) return;
    writeSync(this.#file, `${slot} ${this.#value} .\n`);
    fsyncSync(this.#file);
  }

  verify(): void {
    const fd = openSync(this.#target, constants.O_RDONLY);
    try {
      for (const [slot, value] of this.#noted) {
        const block = Buffer.alloc(slotBytes);
        readSync(fd, block, 0, slotBytes, slot * slotBytes);
        const [found = '', written = ''] = block.toString('latin1').split('\n', 1)[0]?.split(' ') ?? [];
        if (Number(found) !== slot || Number(written) < value || !block.equals(Buffer.alloc(slotBytes, `${found} ${written}\n`)))
          throw new Error(`slot ${slot} was flushed with ${value} and has ${found} ${written}`);
      }
    } finally {
      closeSync(fd);
    }
    process.stdout.write(`  ${this.#noted.size} flushed blocks are there\n`);
  }
}

export const pick = <T>(values: readonly T[]): T => {
  const value = values[Math.floor(Math.random() * values.length)];
  if (value === undefined) throw new Error('nothing to pick from');
  return value;
};
