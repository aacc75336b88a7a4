// The stage that the demo plays on: a folder of its own with catalog, sockets and pool, a daemon, and the way to leave nothing
// of it behind, however the play ends.

import { spawn, spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export const root = resolve(import.meta.dirname, '../..');
const xvdPath = join(root, 'bin/xvd');

export type Outcome = { readonly status: number | null; readonly stdout: string; readonly stderr: string };
export type Stage = AsyncDisposable & {
  readonly folder: string;
  say(text: string): void;
  /** Shows the command and what it prints; fails the demo when it ends otherwise than expected. */
  show(command: string, args: readonly string[], expectedStatus?: number): Outcome;
  /** The same without showing it. */
  quiet(command: string, args: readonly string[]): Outcome;
  /** Looks again and again until `look` gives something. */
  until<T>(what: string, timeoutMs: number, look: () => T | null): Promise<T>;
  /** To be done at the end, last one first, also when the play failed. */
  atEnd(step: () => void | Promise<void>): void;
  startDaemon(): Promise<void>;
};

export function openStage(): Stage {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-demo-'));
  const environment = { ...process.env, XVD_STATE: join(folder, 'state'), XVD_RUN: join(folder, 'run'), NO_COLOR: '1' };
  for (const path of [environment.XVD_STATE, environment.XVD_RUN]) mkdirSync(path, { mode: 0o700 });
  const ends: (() => void | Promise<void>)[] = [];

  const quiet = (command: string, args: readonly string[]): Outcome => {
    const { status, stdout, stderr, error } = spawnSync(command === 'xvd' ? xvdPath : command, args, { cwd: folder, env: environment, encoding: 'utf8', timeout: 120_000 });
    return { status, stdout: stdout ?? '', stderr: stderr ?? error?.message ?? '' };
  };
  const show: Stage['show'] = (command, args, expectedStatus = 0) => {
    process.stdout.write(`\n  $ ${[command, ...args].map(quoted).join(' ')}\n`);
    const outcome = quiet(command, args);
    for (const line of `${outcome.stdout}${outcome.stderr}`.split('\n')) if (line !== '') process.stdout.write(`    ${line}\n`);
    if (outcome.status !== expectedStatus) throw new Error(`${command} ${args.join(' ')} ended with ${outcome.status}, not ${expectedStatus}`);
    return outcome;
  };
  const until: Stage['until'] = async (what, timeoutMs, look) => {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = look();
      if (found !== null) return found;
      if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
      await pause(100);
    }
  };

  return {
    folder,
    quiet,
    show,
    until,
    say: (text) => void process.stdout.write(`\n${text}\n`),
    atEnd: (step) => void ends.push(step),
    startDaemon: async () => {
      process.stdout.write('\n  $ xvd serve &\n');
      const daemon = spawn(xvdPath, ['serve'], { cwd: folder, env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
      let log = '';
      daemon.stderr.on('data', (data: Buffer) => void (log += data.toString()));
      const ended = new Promise<void>((done) => daemon.once('exit', () => done()));
      ends.push(async () => {
        daemon.kill('SIGTERM');
        await ended;
      });
      await until('the daemon answers', 20_000, () => {
        if (daemon.exitCode !== null) throw new Error(`xvd serve ended with ${daemon.exitCode}: ${log}`);
        return quiet('xvd', ['domain', 'list', '--json']).status === 0 ? true : null;
      });
    },
    [Symbol.asyncDispose]: async () => {
      for (const end of ends.toReversed()) await Promise.resolve(end()).catch((error: unknown) => process.stderr.write(`demo: ${String(error)}\n`));
      for (const pid of processesOf(environment.XVD_RUN)) process.kill(pid, 'SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** Whatever still runs with our folder of sockets: guests and connections outlive the daemon by design. */
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
