// Runs external programs: each found at its absolute path, given an argument array, a time limit and an output limit.
// Nothing goes through a shell, and nothing is parsed here. A program that is missing, fails or lasts too long becomes an
// XvdError that holds what it said.

import type { ChildProcess, ChildProcessWithoutNullStreams } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { startFlusher } from './io-flusher.ts';
import type { Syscalls } from './syscalls.ts';

/** The programs that xvd runs, each with the Debian package that brings it. */
const packages = {
  blkid: 'util-linux',
  dmsetup: 'dmsetup',
  findmnt: 'mount',
  fusermount3: 'fuse3',
  getent: 'libc-bin',
  losetup: 'mount',
  'nbd-client': 'nbd-client',
  modprobe: 'kmod',
  'qemu-img': 'qemu-utils',
  'qemu-storage-daemon': 'qemu-system-common',
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-system-aarch64': 'qemu-system-arm',
  setpriv: 'util-linux',
  sfdisk: 'fdisk',
  sqlite: 'sqlite',
  'systemd-notify': 'systemd',
  timeout: 'coreutils',
  udevadm: 'udev',
  umount: 'mount',
  xl: 'xen-utils',
  'xenstore-ls': 'xenstore-utils',
  'xenstore-read': 'xenstore-utils',
  'xenstore-watch': 'xenstore-utils',
  'xenstore-write': 'xenstore-utils',
  'xenstore-list': 'xenstore-utils',
} as const satisfies Record<string, string>;

export type ProgramName = keyof typeof packages;

export type RunOptions = {
  readonly timeoutMs?: number;
  readonly outputBytes?: number;
  readonly input?: string | Uint8Array;
  readonly signal?: AbortSignal;
  /** Exit statuses that are answers and not failures; [0] when left out. */
  readonly okStatus?: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
  /** I/O goes through it, or through what it leaves behind: it must not wait for itself when memory is short (io-flusher.ts). */
  readonly flusher?: boolean;
  /** What it prints, as it comes. */
  readonly onOutput?: (text: string) => void;
};

export type ProgramResult = { readonly status: number; readonly stdout: string; readonly stderr: string };

export interface Programs {
  /** Absolute path, or null when it is not installed. */
  find(name: ProgramName): string | null;
  /** Absolute path; PROGRAM_MISSING naming the package. */
  require(name: ProgramName): string;
  /** Runs it to its end. PROGRAM_MISSING; PROGRAM_FAILED with what it said. */
  run(name: ProgramName, args: readonly string[], options?: RunOptions): Promise<ProgramResult>;
}

export type ProgramsOptions = {
  /** Folders in the form of PATH; those of system programs are added. */
  readonly searchPath: string;
  /** Absolute paths that win over the search, for tests and odd installations. */
  readonly places?: Readonly<Partial<Record<ProgramName, string>>>;
  /** For programs that I/O goes through. */
  readonly syscalls?: Syscalls | null;
};

export function openPrograms({ searchPath, places = {}, syscalls = null }: ProgramsOptions): Programs {
  const folders = [...new Set([...searchPath.split(':'), '/usr/sbin', '/usr/bin', '/sbin', '/bin'])].filter((folder) => folder.startsWith('/'));
  const found = new Map<ProgramName, string>();
  const find = (name: ProgramName): string | null => {
    const known = places[name] ?? found.get(name);
    if (known !== undefined) return known;
    const path = folders.map((folder) => `${folder}/${name}`).find(isExecutable);
    if (path !== undefined) found.set(name, path);
    return path ?? null;
  };
  const required = (name: ProgramName): string => {
    const path = find(name);
    if (path === null) throw new XvdError('PROGRAM_MISSING', `${name} is not installed`, { fix: `Install it: apt-get install ${packages[name]}` });
    return path;
  };
  return { find, require: required, run: async (name, args, options = {}) => runProgram(required(name), name, args, options, syscalls) };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

async function runProgram(path: string, name: string, args: readonly string[], options: RunOptions, syscalls: Syscalls | null): Promise<ProgramResult> {
  const { timeoutMs = limits.programMs, okStatus = [0], signal } = options;
  const said = `${name} ${args.join(' ')}`;
  signal?.throwIfAborted();
  // Loaded when a program is first run: most commands run none.
  const { spawn } = process.getBuiltinModule('node:child_process');
  const start = (): ChildProcessWithoutNullStreams =>
    spawn(path, [...args], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C', ...options.env } });
  const child = options.flusher === true ? startFlusher(syscalls, start) : start();
  const output = collect(child, options.outputBytes ?? limits.programOutputBytes);
  child.stdout.on('data', (chunk: Buffer) => options.onOutput?.(chunk.toString('utf8')));
  child.stdin.on('error', () => undefined); // it may end without reading all of its input
  child.stdin.end(options.input ?? '');
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  const stop = AbortSignal.any(signal === undefined ? [late.signal] : [late.signal, signal]);
  const kill = (): void => void child.kill('SIGKILL');
  stop.addEventListener('abort', kill);
  try {
    const { status, signal: endedBy } = await ended(child, path);
    signal?.throwIfAborted();
    const { stdout, stderr, overflow } = output();
    if (late.signal.aborted) throw new XvdError('PROGRAM_FAILED', `${said}: not done after ${timeoutMs} ms${tail(stderr)}`);
    if (overflow) throw new XvdError('PROGRAM_FAILED', `${said}: said more than ${options.outputBytes ?? limits.programOutputBytes} bytes`);
    if (status === null || !okStatus.includes(status)) {
      throw new XvdError('PROGRAM_FAILED', `${said}: ${endedBy === null ? `exit status ${status}` : `ended by ${endedBy}`}${tail(stderr || stdout)}`, {
        details: { status, stderr },
      });
    }
    return { status, stdout, stderr };
  } finally {
    clearTimeout(timer);
    stop.removeEventListener('abort', kill);
  }
}

const tail = (text: string): string => (text.trim() === '' ? '' : `: ${text.trim().slice(-2000)}`);

/** Waits for its end and the rest of its output. A daemon that it left behind may keep the pipes open: that is not waited for. */
function ended(child: ChildProcess, path: string): Promise<{ status: number | null; signal: string | null }> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new XvdError('PROGRAM_FAILED', `${path} can't be started: ${error.message}`, { cause: error })));
    child.once('close', (status, signal) => resolve({ status, signal }));
    child.once('exit', (status, signal) => {
      setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve({ status, signal });
      }, 500).unref();
    });
  });
}

function collect(child: ChildProcess, limitBytes: number): () => { stdout: string; stderr: string; overflow: boolean } {
  let overflow = false;
  const gather = (stream: NodeJS.ReadableStream | null): (() => string) => {
    const chunks: Buffer[] = [];
    let size = 0;
    stream?.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limitBytes) chunks.push(chunk);
      else {
        overflow = true;
        child.kill('SIGKILL');
      }
    });
    return () => Buffer.concat(chunks).toString('utf8');
  };
  const stdout = gather(child.stdout);
  const stderr = gather(child.stderr);
  return () => ({ stdout: stdout(), stderr: stderr(), overflow });
}
