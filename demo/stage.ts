// The stage that the demo plays on: a folder of its own with catalog, sockets and pool, a daemon, and the way to leave nothing
// of it behind, however the play ends. Commands are run without blocking, so that a signal ends the play at once.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';

const xvdPath = join(import.meta.dirname, '..', 'bin', 'xvd');
/** The longest command of the play is the start of a guest under emulation on a busy machine. */
const commandMs = 120_000;

export type Outcome = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

export class Stage implements AsyncDisposable {
  readonly folder: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #children = new Set<ChildProcess>();
  readonly #ends: (() => Promise<unknown>)[] = [];
  #ending = false;

  static async open(): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), 'xvd-demo-'));
    for (const name of ['state', 'run']) await mkdir(join(folder, name), { mode: 0o700 });
    return new Stage(folder);
  }

  private constructor(folder: string) {
    this.folder = folder;
    const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
    this.#environment = { ...process.env, PATH: path, XVD_STATE: join(folder, 'state'), XVD_RUN: join(folder, 'run'), NO_COLOR: '1' };
  }

  say(text: string): void {
    process.stdout.write(`\n${text}\n`);
  }

  /** Shows the command and then what it prints; fails the play when it ends otherwise than expected. */
  async show(command: string, args: readonly string[], expectedStatus = 0): Promise<Outcome> {
    process.stdout.write(`\n  $ ${[command, ...args].map(quoted).join(' ')}\n`);
    const outcome = await this.quiet(command, args);
    for (const line of `${outcome.stdout}${outcome.stderr}`.split('\n')) if (line !== '') process.stdout.write(`    ${line}\n`);
    if (outcome.status !== expectedStatus) throw new Error(`${command} ${args.join(' ')} ended with ${outcome.status}, not ${expectedStatus}`);
    return outcome;
  }

  /** The same without showing it; whatever its status. */
  async quiet(command: string, args: readonly string[]): Promise<Outcome> {
    const child = this.#spawn(command, args);
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), commandMs);
    const status = await new Promise<number | null>((resolve) => {
      child.once('error', (error) => ((stderr += error.message), resolve(null)));
      child.once('close', resolve);
    });
    clearTimeout(timer);
    return { status, stdout, stderr };
  }

  /** Shows a command that goes on in the background until the play is over; its lines are waited for one by one. */
  background(command: string, args: readonly string[]): Background {
    process.stdout.write(`\n  $ ${[command, ...args].map(quoted).join(' ')} &\n`);
    const child = this.#spawn(command, args);
    this.atEnd(() => endOf(child));
    return new Background(`${command} ${args.join(' ')}`, child);
  }

  /** Looks again and again until `look` gives something. */
  async until<T>(what: string, timeoutMs: number, look: () => Promise<T | null>): Promise<T> {
    for (const deadline = performance.now() + timeoutMs; ;) {
      const found = await look();
      if (found !== null) return found;
      if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** To be done at the end, last one first, also when the play failed. */
  atEnd(step: () => Promise<unknown>): void {
    this.#ends.push(step);
  }

  /** First whatever still runs in the foreground, then the steps, then what outlives a daemon by design, then the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending = true;
    for (const child of this.#children) if (!this.#isDaemon(child)) await endOf(child);
    for (const step of this.#ends.toReversed()) await step().catch((error: unknown) => process.stderr.write(`demo: ${String(error)}\n`));
    for (const pid of processesOf(join(this.folder, 'run'))) process.kill(pid, 'SIGKILL');
    await rm(this.folder, { recursive: true, force: true, maxRetries: 20 });
  }

  #isDaemon(child: ChildProcess): boolean {
    return child.spawnargs.includes('serve');
  }

  #spawn(command: string, args: readonly string[]): ChildProcess {
    if (this.#ending && args.includes('serve')) throw new Error('the play is over');
    // A session of its own: Ctrl-C reaches the play alone, which then ends things in order.
    const child = spawn(command === 'xvd' ? xvdPath : command, [...args], {
      cwd: this.folder,
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }
}

export class Background {
  readonly #what: string;
  readonly #lines: AsyncIterator<string>;
  readonly #child: ChildProcess;
  #complaints = '';

  constructor(what: string, child: ChildProcess) {
    this.#what = what;
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]();
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#complaints = (this.#complaints + text).slice(-4000)));
  }

  /** Throws when it has ended. */
  check(): void {
    if (this.#child.exitCode !== null) throw new Error(`${this.#what} ended with ${this.#child.exitCode}: ${this.#complaints}`);
  }

  /** Waits for such a line, and shows it. */
  async line(pattern: RegExp, timeoutMs: number): Promise<string> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`${this.#what}: nothing like ${pattern} within ${timeoutMs / 1000} s`)), timeoutMs);
    try {
      for (;;) {
        const { value, done } = await Promise.race([this.#lines.next(), late.promise]);
        if (done === true) throw new Error(`${this.#what} ended: ${this.#complaints}`);
        if (!pattern.test(value)) continue;
        process.stdout.write(`    ${value}\n`);
        return value;
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(timer);
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

function processesOf(runFolder: string): readonly number[] {
  const mark = `XVD_RUN=${runFolder}\0`;
  return globSync('/proc/[0-9]*').flatMap((path) => {
    try {
      return `${readFileSync(`${path}/environ`, 'utf8')}\0`.includes(mark) ? [Number(basename(path))] : [];
    } catch {
      return [];
    }
  });
}
