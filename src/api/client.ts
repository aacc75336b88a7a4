// The daemon over its Unix socket: one request, one answer; errors come back as what they were.

import { realpathSync } from 'node:fs';
import { request } from 'node:http';
import { errorTable, XvdError } from '../base/error.ts';
import type { ErrorCode } from '../base/error.ts';

export type Client = {
  /** The signal drops the request. */
  call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, signal?: AbortSignal): Promise<T>;
};

export const apiSocket = (runFolder: string): string => `${runFolder}/api.sock`;

/** On every request: whose catalog is meant, since a daemon of another one may have the socket. */
export const STATE_HEADER = 'xvd-state';

/** The folder of a catalog, by whatever name, as text of a header. */
export function stateHeader(stateFolder: string): string {
  let real = stateFolder;
  try {
    real = realpathSync(stateFolder);
  } catch {
    // Not made yet, so no daemon serves it.
  }
  return encodeURIComponent(real);
}

/** DAEMON_NOT_RUNNING also when the daemon there serves another catalog. */
export function openClient({ runFolder, stateFolder }: { readonly runFolder: string; readonly stateFolder: string }): Client {
  const socketPath = apiSocket(runFolder);
  const state = stateHeader(stateFolder);
  return {
    async call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
      const { status, text } = await send({ socketPath, state }, method, path, body, signal);
      const value: unknown = text === '' ? null : parse(text);
      if (status >= 200 && status < 300) return value as T;
      throw errorOf(status, value);
    },
  };
}

function send(
  { socketPath, state }: { socketPath: string; state: string },
  method: string,
  path: string,
  body: unknown,
  signal?: AbortSignal,
): Promise<{ status: number; text: string }> {
  const answer = Promise.withResolvers<{ status: number; text: string }>();
  const payload = body === undefined ? null : JSON.stringify(body);
  const headers = { [STATE_HEADER]: state, ...(payload === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }) };
  const outgoing = request({ socketPath, method, path, headers, agent: false }, (incoming) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.once('end', () => answer.resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }));
    incoming.once('error', answer.reject);
  });
  outgoing.once('error', (error: NodeJS.ErrnoException) => answer.reject(connectionError(error, socketPath)));
  const drop = (): void => void outgoing.destroy();
  signal?.addEventListener('abort', drop, { once: true });
  outgoing.once('close', () => signal?.removeEventListener('abort', drop));
  outgoing.end(payload ?? undefined);
  return answer.promise;
}

function connectionError(error: NodeJS.ErrnoException, socketPath: string): XvdError {
  if (error.code === 'EACCES') return new XvdError('NOT_PERMITTED', `the daemon's socket ${socketPath} may not be opened`, { cause: error });
  if (error.code === 'ECONNRESET') return new XvdError('DAEMON_NOT_RUNNING', 'the daemon ended while it was asked', { cause: error });
  return new XvdError('DAEMON_NOT_RUNNING', `no daemon answers on ${socketPath}`, {
    cause: error,
    fix: 'Start it with `xvd serve` (with the same XVD_STATE and XVD_RUN).',
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new XvdError('INTERNAL', 'the daemon answered what is no JSON', { cause: error });
  }
}

/** From a problem document (RFC 9457) of ours. */
function errorOf(status: number, value: unknown): XvdError {
  const { code, detail, fix, type, title, status: _, instance, ...details } = (value ?? {}) as Record<string, unknown>;
  const known = typeof code === 'string' && code in errorTable ? (code as ErrorCode) : 'INTERNAL';
  void [type, title, instance];
  const message = typeof detail === 'string' ? detail : `the daemon answered with status ${status}`;
  return new XvdError(known, message, { ...(typeof fix === 'string' ? { fix } : {}), details });
}
