// One connection to a QEMU's QMP socket: commands one id each, answers matched to them, events handed to whoever listens.
// Every command has a time limit; a QEMU that is gone, silent or talks nonsense is HYPERVISOR_FAILED.

import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { XvdError } from '../../base/error.ts';
import { decodeQmp, encodeQmp, qmpStart } from './qmp-codec.ts';
import type { QmpMessage, QmpObject, QmpValue } from './qmp-codec.ts';

export type QmpEvent = { readonly event: string; readonly data: QmpObject };

export interface QmpConnection extends Disposable {
  /** HYPERVISOR_FAILED with QEMU's own words when it refuses. */
  execute(command: string, args?: QmpObject, timeoutMs?: number): Promise<QmpValue>;
  /** Every event from now on; the function that is returned ends it. */
  listen(listener: (event: QmpEvent) => void): () => void;
  /** Settled when the connection has ended, by either side. */
  readonly closed: Promise<void>;
}

/** QEMU answers within milliseconds; under emulation on a busy machine, or while it drains a slow disk, within seconds. */
const answerMs = 15_000;
/** It greets at once: one that does not is stopped or served already by another. */
const greetMs = 5_000;

export async function connectQmp(path: string, timeoutMs = greetMs): Promise<QmpConnection> {
  const connection = new Connection(path, await connected(path, timeoutMs));
  try {
    await connection.greeted(timeoutMs);
    await connection.execute('qmp_capabilities', {}, timeoutMs);
    return connection;
  } catch (error) {
    connection[Symbol.dispose]();
    throw error;
  }
}

type Waiting = { readonly command: string; readonly resolve: (value: QmpValue) => void; readonly reject: (error: unknown) => void };

class Connection implements QmpConnection {
  readonly closed: Promise<void>;
  readonly #path: string;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #greeting = Promise.withResolvers<void>();
  #rest = qmpStart;
  #lastId = 0;

  constructor(path: string, socket: Socket) {
    this.#path = path;
    this.#socket = socket;
    const closed = Promise.withResolvers<void>();
    this.closed = closed.promise;
    this.#greeting.promise.catch(() => undefined);
    socket.unref();
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', () => undefined); // 'close' follows and tells everybody
    socket.on('close', () => {
      this.#failAll('it ended the connection');
      closed.resolve();
    });
  }

  greeted(timeoutMs: number): Promise<void> {
    return limited(this.#greeting.promise, timeoutMs, () => failed(this.#path, 'no greeting'));
  }

  async execute(command: string, args: QmpObject = {}, timeoutMs = answerMs): Promise<QmpValue> {
    if (this.#socket.destroyed) throw failed(this.#path, 'the connection has ended');
    const id = (this.#lastId += 1);
    const answer = Promise.withResolvers<QmpValue>();
    this.#waiting.set(id, { command, resolve: answer.resolve, reject: answer.reject });
    this.#socket.write(encodeQmp(id, command, args));
    try {
      return await limited(answer.promise, timeoutMs, () => failed(this.#path, `no answer to ${command} within ${timeoutMs} ms`));
    } finally {
      this.#waiting.delete(id);
    }
  }

  listen(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #receive(chunk: Uint8Array): void {
    const { rest, messages } = decodeQmp(this.#rest, chunk);
    this.#rest = rest;
    for (const message of messages) this.#dispatch(message);
  }

  #dispatch(message: QmpMessage): void {
    switch (message.kind) {
      case 'greeting':
        return this.#greeting.resolve();
      case 'event':
        for (const listener of [...this.#listeners]) listener({ event: message.event, data: message.data });
        return;
      case 'answer':
        return this.#waiting.get(message.id ?? -1)?.resolve(message.value);
      case 'failure': {
        const waiting = this.#waiting.get(message.id ?? -1);
        return waiting?.reject(failed(this.#path, `${waiting.command}: ${message.reason}`));
      }
      case 'malformed':
        this.#failAll(message.reason);
        this.#socket.destroy();
    }
  }

  #failAll(reason: string): void {
    this.#greeting.reject(failed(this.#path, reason));
    for (const { command, reject } of this.#waiting.values()) reject(failed(this.#path, `${command}: ${reason}`));
    this.#waiting.clear();
  }
}

const failed = (path: string, reason: string): XvdError => new XvdError('HYPERVISOR_FAILED', `QEMU at ${path}: ${reason}`);

function connected(path: string, timeoutMs: number): Promise<Socket> {
  const socket = connect(path);
  const opened = new Promise<Socket>((resolve, reject) => {
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error) => reject(new XvdError('HYPERVISOR_FAILED', `QEMU at ${path} can't be reached: ${error.message}`, { cause: error })));
  });
  return limited(opened, timeoutMs, () => failed(path, 'no connection')).catch((error: unknown) => {
    socket.destroy();
    throw error;
  });
}

/** The promise's own outcome, or the error when it takes too long. */
export async function limited<T>(promise: Promise<T>, timeoutMs: number, late: () => Error): Promise<T> {
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeout.reject(late()), timeoutMs);
  try {
    return await Promise.race([promise, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}
