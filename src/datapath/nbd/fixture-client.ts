// For tests: an NBD client that can also say what no client may. Structured replies, one request after another.

import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { GuestEnd } from '../contract.ts';
import { CHUNK, CHUNK_DONE, CMD, IHAVEOPT, OPT, REP, REQUEST_MAGIC } from './wire/constants.ts';

export type RawClient = {
  send(data: Uint8Array): void;
  /** Rejects when the connection ends before. */ take(length: number): Promise<Buffer>;
  /** All until the server ends the connection. */ rest(): Promise<Buffer>;
  end(): void;
};

/** Fixed newstyle, no zeroes. */
export const CLIENT_FLAGS = Buffer.from([0, 0, 0, 3]);

export async function connectRaw(path: string): Promise<RawClient> {
  const socket: Socket = connect(path);
  await once(socket, 'connect');
  return rawClientOn(socket);
}

/** Of a socket that is connected, over TLS or not. */
export function rawClientOn(socket: Socket): RawClient {
  let held: Buffer[] = [];
  let over = false;
  let wake = Promise.withResolvers<void>();
  const stir = (): void => {
    wake.resolve();
    wake = Promise.withResolvers<void>();
  };
  socket.on('data', (data: Buffer) => {
    held.push(data);
    stir();
  });
  socket.on('error', () => {});
  socket.once('close', () => {
    over = true;
    stir();
  });
  return {
    send: (data) => void socket.write(data),
    async take(length) {
      while (held.reduce((sum, part) => sum + part.length, 0) < length) {
        if (over) throw new Error('the connection ended');
        await wake.promise;
      }
      const all = Buffer.concat(held);
      held = [all.subarray(length)];
      return all.subarray(0, length);
    },
    async rest() {
      while (!over) await wake.promise;
      return Buffer.concat(held);
    },
    end: () => socket.destroy(),
  };
}

export function optionBytes(option: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(IHAVEOPT);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

export function goData(name: string, infos: readonly number[] = []): Buffer {
  const data = Buffer.alloc(6 + Buffer.byteLength(name) + 2 * infos.length);
  data.writeUInt32BE(Buffer.byteLength(name));
  data.write(name, 4);
  let at = data.writeUInt16BE(infos.length, 4 + Buffer.byteLength(name));
  for (const info of infos) at = data.writeUInt16BE(info, at);
  return data;
}

export type RequestFields = { readonly type: number; readonly flags?: number; readonly offset?: number; readonly length?: number; readonly cookie?: number };

export function requestBytes({ type, flags = 0, offset = 0, length = 0, cookie = 1 }: RequestFields): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(REQUEST_MAGIC);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(type, 6);
  bytes.writeBigUInt64BE(BigInt(cookie), 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

/** Through the handshake, with structured replies. */
export async function handshakeRaw(client: RawClient, name: string): Promise<void> {
  await client.take(18);
  client.send(CLIENT_FLAGS);
  await goRaw(client, name);
}

/** The options of the handshake, without the greeting and its answer. */
export async function goRaw(client: RawClient, name: string): Promise<void> {
  client.send(Buffer.concat([optionBytes(OPT.STRUCTURED_REPLY), optionBytes(OPT.GO, goData(name))]));
  for (let acks = 0; acks < 2;) {
    const head = await client.take(20);
    const type = head.readUInt32BE(12);
    await client.take(head.readUInt32BE(16));
    if (type >= REP.ERR_UNSUP) throw new Error(`the server answered ${type.toString(16)}`);
    if (type === REP.ACK) acks += 1;
  }
}

/** The data of a read, nothing for the rest; rejects with the error of the protocol. */
export async function answerOf(client: RawClient): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for (;;) {
    const head = await client.take(20);
    const data = await client.take(head.readUInt32BE(16));
    const type = head.readUInt16BE(6);
    if (type === CHUNK.ERROR) throw Object.assign(new Error(`NBD error ${data.readUInt32BE(0)}`), { number: data.readUInt32BE(0) });
    if (type === CHUNK.OFFSET_DATA) parts.push(data.subarray(8));
    if ((head.readUInt16BE(4) & CHUNK_DONE) !== 0) return Uint8Array.from(Buffer.concat(parts));
  }
}

export async function connectGuest(path: string, name: string): Promise<GuestEnd> {
  const client = await connectRaw(path);
  await handshakeRaw(client, name);
  const ask = (fields: RequestFields, payload: Uint8Array = new Uint8Array(0)): Promise<Uint8Array> => {
    client.send(Buffer.concat([requestBytes(fields), payload]));
    return answerOf(client);
  };
  return {
    read: (offset, length) => ask({ type: CMD.READ, offset, length }),
    write: async (offset, data) => void (await ask({ type: CMD.WRITE, offset, length: data.length }, data)),
    flush: async () => void (await ask({ type: CMD.FLUSH })),
    end: async () => client.end(),
  };
}
