// Where the catalog and the sockets are, and how much unsafe sharing is allowed: a flag beats a variable, which beats the
// file, which beats the default. Every key is documented in docs/xvd.toml.example.

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { XvdError } from '../base/error.ts';
import { parseSize } from '../core/size.ts';
import type { ExpertLevel } from '../core/types.ts';

export type Settings = {
  /** XVD_STATE: folder of the catalog. */
  readonly stateFolder: string;
  /** XVD_RUN: folder of sockets and pipes. */
  readonly runFolder: string;
  /** XVD_EXPERT. */
  readonly expert: ExpertLevel;
  /** HOST:PORT of the HTTP API beside its Unix socket, and the file that holds its token; null = the socket only. */
  readonly listen: string | null;
  readonly tokenFile: string | null;
  /** Folder of spare QMP sockets, by which QEMU guests that xvd did not start are domains; null = none. */
  readonly qmpFolder: string | null;
  /** HOST:PORT of NBD over TCP. */
  readonly nbdListen: string | null;
  /** Octal mode, and USER:GROUP, of the Unix sockets that VBDs are served on; null = 0600, and whoever runs the daemon. */
  readonly nbdSocketMode: string | null;
  readonly nbdSocketOwner: string | null;
  /** PEM files of TLS, for the API and for NBD; the authority is that of NBD's clients. */
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
  readonly tlsCa: string | null;
  /** Budget of wiping, in bytes a second; null = as fast as it goes. */
  readonly wipeBytesPerSecond: number | null;
  /** Wiping by commands and the library at the idle I/O priority; the reserve is wiped so in any case. */
  readonly idleWipes: boolean;
  /** So much of each pool's free space the daemon keeps wiped ahead of time; null = none. */
  readonly cleanReserveBytes: number | null;
};

export type SettingsInput = Partial<Omit<Settings, 'expert'>> & { readonly expert?: number; readonly config?: string };
type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_FILE = '/etc/xvd/xvd.toml';
const keys: Readonly<Record<string, keyof Settings>> = {
  state: 'stateFolder',
  run: 'runFolder',
  qmp: 'qmpFolder',
  expert: 'expert',
  listen: 'listen',
  token_file: 'tokenFile',
  tls_cert: 'tlsCert',
  tls_key: 'tlsKey',
  wipe_rate: 'wipeBytesPerSecond',
  wipe_priority: 'idleWipes',
  clean_reserve: 'cleanReserveBytes',
  nbd_socket_mode: 'nbdSocketMode',
  nbd_socket_owner: 'nbdSocketOwner',
  nbd_listen: 'nbdListen',
  tls_ca: 'tlsCa',
};

export async function resolveSettings(input: SettingsInput, env: Environment): Promise<Settings> {
  const file = await readSettingsFile(input.config ?? null);
  const asRoot = process.getuid?.() === 0;
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  const stateFolder = resolve(
    input.stateFolder ??
      text(env['XVD_STATE']) ??
      text(file['stateFolder']) ??
      (asRoot ? '/var/lib/xvd' : join(text(env['XDG_STATE_HOME']) ?? join(homedir(), '.local/state'), 'xvd')),
  );
  const runtime = text(env['XDG_RUNTIME_DIR']);
  const runDefault = asRoot ? '/run/xvd' : runtime === undefined ? join(stateFolder, 'run') : join(runtime, 'xvd');
  return {
    stateFolder,
    runFolder: resolve(input.runFolder ?? text(env['XVD_RUN']) ?? text(file['runFolder']) ?? runDefault),
    expert: expertLevel(input.expert ?? text(env['XVD_EXPERT']) ?? file['expert'] ?? 0),
    listen: input.listen ?? text(file['listen']) ?? null,
    qmpFolder: resolved(input.qmpFolder ?? text(env['XVD_QMP']) ?? text(file['qmpFolder']) ?? null),
    tokenFile: input.tokenFile ?? text(file['tokenFile']) ?? null,
    tlsCert: input.tlsCert ?? text(file['tlsCert']) ?? null,
    tlsKey: input.tlsKey ?? text(file['tlsKey']) ?? null,
    cleanReserveBytes: input.cleanReserveBytes ?? sizeOf('clean_reserve', text(file['cleanReserveBytes'])),
    idleWipes: input.idleWipes ?? isIdle(text(file['idleWipes']) ?? 'normal'),
    wipeBytesPerSecond: input.wipeBytesPerSecond ?? sizeOf('wipe_rate', text(file['wipeBytesPerSecond'])),
    nbdSocketMode: input.nbdSocketMode ?? text(file['nbdSocketMode']) ?? null,
    nbdSocketOwner: input.nbdSocketOwner ?? text(file['nbdSocketOwner']) ?? null,
    tlsCa: input.tlsCa ?? text(file['tlsCa']) ?? null,
    nbdListen: input.nbdListen ?? text(file['nbdListen']) ?? null,
  };
}

function sizeOf(key: string, value: string | undefined): number | null {
  if (value === undefined) return null;
  try {
    return parseSize(value);
  } catch (error) {
    throw new XvdError('VALUE_INVALID', `'${key}' of the configuration file: ${(error as Error).message}`, {
      cause: error,
      fix: 'Write a size with a unit, like "200M".',
    });
  }
}

function isIdle(priority: string): boolean {
  if (priority === 'idle' || priority === 'normal') return priority === 'idle';
  throw new XvdError('VALUE_INVALID', `'wipe_priority' of the configuration file is normal or idle, not '${priority}'`);
}

const resolved = (path: string | null): string | null => (path === null ? null : resolve(path));

export function expertLevel(value: unknown): ExpertLevel {
  const level = typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value;
  if (level === 0 || level === 1 || level === 2) return level;
  throw new XvdError('VALUE_INVALID', `the expert level is 0, 1 or 2, not '${String(value)}'`);
}

async function readSettingsFile(path: string | null): Promise<Partial<Record<keyof Settings, unknown>>> {
  const file = path ?? DEFAULT_FILE;
  if (path === null && !existsSync(file)) return {};
  let table: Record<string, unknown>;
  try {
    const { parse } = await import('smol-toml');
    table = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new XvdError(missing ? 'FILE_NOT_FOUND' : 'VALUE_INVALID', `the configuration file ${file} can't be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return Object.fromEntries(
    Object.entries(table).map(([key, value]) => {
      const name = keys[key];
      if (name === undefined) throw new XvdError('VALUE_INVALID', `${file}: unknown key '${key}'`, { fix: `Known here: ${Object.keys(keys).join(', ')}.` });
      const wanted = name === 'expert' ? 'number' : 'string';
      if (typeof value !== wanted) throw new XvdError('VALUE_INVALID', `${file}: '${key}' is a ${wanted}`);
      return [name, value];
    }),
  );
}
