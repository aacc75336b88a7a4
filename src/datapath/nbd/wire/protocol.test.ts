// The document of the protocol, line by line, where a server may go wrong without any client of ours noticing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../../base/limits.ts';
import { goData, optionBytes, requestBytes } from '../fixture-client.ts';
import { CMD, CMD_FLAG, FLAG, NBD_ERROR, OPT, REP } from './constants.ts';
import { oneExport, startHandshake } from './handshake.ts';
import type { Export, Step } from './handshake.ts';
import { parseRequest, refusalOf, requestPlace } from './transmission.ts';
import type { Served } from './transmission.ts';

const exported: Export = {
  name: 'web01/xvda@17',
  description: 'xvd',
  sizeBytes: 2 ** 30,
  transmissionFlags: FLAG.HAS_FLAGS | FLAG.SEND_FLUSH | FLAG.SEND_DF,
  blockSizes: [512, 4096, limits.nbdRequestBytes],
  contexts: ['base:allocation', 'xvd:run', 'xvd:device'],
};

const say = (...parts: Uint8Array[]): Step => startHandshake(oneExport(exported)).step(Buffer.concat([Buffer.from([0, 0, 0, 3]), ...parts]));

/** Type and data of each option reply. */
const repliesOf = ({ output }: Step): { type: number; data: Buffer }[] =>
  output.map((bytes) => ({ type: Buffer.from(bytes).readUInt32BE(12), data: Buffer.from(bytes).subarray(20) }));

function contextsAsked(option: number, ...queries: string[]): string[] {
  const counted = (text: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, Buffer.byteLength(text)]), Buffer.from(text)]);
  const data = Buffer.concat([counted(''), Buffer.from([0, 0, 0, queries.length]), ...queries.map(counted)]);
  const [, ...replies] = repliesOf(say(optionBytes(OPT.STRUCTURED_REPLY), optionBytes(option, data)));
  assert.equal(replies.at(-1)?.type, REP.ACK);
  return replies.slice(0, -1).map((reply) => reply.data.subarray(4).toString());
}

test('not to fragment is offered only to clients that have agreed on structured replies, by GO and by EXPORT_NAME', () => {
  const go = (...before: Uint8Array[]): number | undefined =>
    repliesOf(say(...before, optionBytes(OPT.GO, goData(''))))
      .find(({ type }) => type === REP.INFO)
      ?.data.readUInt16BE(10);
  assert.equal(go(), FLAG.HAS_FLAGS | FLAG.SEND_FLUSH);
  assert.equal(go(optionBytes(OPT.STRUCTURED_REPLY)), exported.transmissionFlags);
  const named = (...before: Uint8Array[]): number => Buffer.from(say(...before, optionBytes(OPT.EXPORT_NAME)).output.at(-1) ?? []).readUInt16BE(8);
  assert.equal(named(), FLAG.HAS_FLAGS | FLAG.SEND_FLUSH);
  assert.equal(named(optionBytes(OPT.STRUCTURED_REPLY)), exported.transmissionFlags);
});

test('contexts: none asked lists all and sets none; a namespace lists its own and sets none; strangers and repetitions add nothing', () => {
  const { LIST_META_CONTEXT, SET_META_CONTEXT } = OPT;
  assert.deepEqual(contextsAsked(LIST_META_CONTEXT), exported.contexts);
  assert.deepEqual(contextsAsked(SET_META_CONTEXT), []);
  assert.deepEqual(contextsAsked(LIST_META_CONTEXT, 'xvd:'), ['xvd:run', 'xvd:device']);
  assert.deepEqual(contextsAsked(LIST_META_CONTEXT, 'base:'), ['base:allocation']);
  assert.deepEqual(contextsAsked(SET_META_CONTEXT, 'base:', 'xvd:'), []);
  assert.deepEqual(contextsAsked(LIST_META_CONTEXT, 'base', 'x-other:all', 'qemu:dirty-bitmap:b0', ''), []);
  assert.deepEqual(contextsAsked(SET_META_CONTEXT, 'xvd:device', 'xvd:device', 'base:allocation'), ['base:allocation', 'xvd:device']);
});

test('ABORT is answered, whatever data it has, and ends the handshake; so does an option longer than any, which is not read', () => {
  const aborted = say(optionBytes(OPT.ABORT, Buffer.alloc(20)), optionBytes(OPT.LIST));
  assert.deepEqual([repliesOf(aborted).map(({ type }) => type), aborted.next], [[REP.ACK], 'end']);
  const head = optionBytes(OPT.GO);
  head.writeUInt32BE(limits.nbdOptionBytes + 1, 12);
  const long = say(head);
  assert.deepEqual([repliesOf(long).map(({ type }) => type), long.next], [[REP.ERR_TOO_BIG], 'end']);
});

test('extended headers are unknown here, and the handshake goes on', () => {
  const step = say(optionBytes(OPT.EXTENDED_HEADERS), optionBytes(OPT.LIST));
  assert.deepEqual(
    repliesOf(step).map(({ type }) => type),
    [REP.ERR_UNSUP, REP.SERVER, REP.ACK],
  );
});

test('a client that asks for ever, or for ever more, is left: what a handshake costs has an end', () => {
  const handshake = startHandshake(oneExport(exported));
  handshake.step(Buffer.from([0, 0, 0, 3]));
  const many = Buffer.concat(Array.from({ length: limits.nbdOptions }, () => optionBytes(77)));
  assert.equal(handshake.step(many).next, 'more');
  assert.equal(handshake.step(optionBytes(77)).next, 'end');
  const large = startHandshake({ find: () => null, list: () => Array.from({ length: 4096 }, () => ({ ...exported, name: 'x'.repeat(100) })) });
  large.step(Buffer.from([0, 0, 0, 3]));
  let sent = 0;
  for (let next: Step['next'] = 'more'; next === 'more';) {
    const step = large.step(optionBytes(OPT.LIST));
    for (const bytes of step.output) sent += bytes.length;
    next = step.next;
  }
  assert.ok(sent > 0 && sent <= limits.nbdAnswerBytes);
});

const served: Served = { sizeBytes: 1024 * 1024, readOnly: false, minimumBytes: 512, contexts: true };

function refusal(fields: Parameters<typeof requestBytes>[0], more: Partial<Served> = {}): number {
  const request = requestPlace();
  assert.ok(parseRequest(requestBytes({ length: 512, ...fields }), 0, request));
  return refusalOf(request, { ...served, ...more });
}

test('each command takes its own flags and FUA, and no other', () => {
  const own: Readonly<Record<number, number>> = {
    [CMD.READ]: CMD_FLAG.DF,
    [CMD.WRITE]: 0,
    [CMD.FLUSH]: 0,
    [CMD.TRIM]: 0,
    [CMD.CACHE]: 0,
    [CMD.WRITE_ZEROES]: CMD_FLAG.NO_HOLE | CMD_FLAG.FAST_ZERO,
    [CMD.BLOCK_STATUS]: CMD_FLAG.REQ_ONE,
  };
  for (const [type, flags] of Object.entries(own)) {
    for (let bit = 0; bit < 16; bit += 1) {
      const allowed = ((flags | CMD_FLAG.FUA) & (1 << bit)) !== 0;
      assert.equal(refusal({ type: Number(type), flags: 1 << bit }), allowed ? 0 : NBD_ERROR.EINVAL, `command ${type}, flag ${bit}`);
    }
  }
  for (const type of [8, 9, 0xffff]) assert.equal(refusal({ type }), NBD_ERROR.EINVAL);
});

test('sizes: data up to the announced payload, the rest up to the whole VBD; past the end no space for writes, else invalid', () => {
  const large = { sizeBytes: 4 * limits.nbdRequestBytes };
  const most = limits.nbdRequestBytes;
  for (const type of [CMD.READ, CMD.WRITE]) {
    assert.equal(refusal({ type, length: most }, large), 0);
    assert.equal(refusal({ type, length: most + 512 }, large), NBD_ERROR.EINVAL);
  }
  for (const type of [CMD.TRIM, CMD.WRITE_ZEROES, CMD.CACHE, CMD.BLOCK_STATUS]) assert.equal(refusal({ type, length: large.sizeBytes }, large), 0);
  const past = { offset: served.sizeBytes - 512, length: 1024 };
  for (const type of [CMD.WRITE, CMD.WRITE_ZEROES]) assert.equal(refusal({ type, ...past }), NBD_ERROR.ENOSPC);
  for (const type of [CMD.READ, CMD.TRIM, CMD.CACHE, CMD.BLOCK_STATUS]) assert.equal(refusal({ type, ...past }), NBD_ERROR.EINVAL);
});

test('what is not aligned, empty, or not agreed upon is invalid; what would write to a VBD for reading is not permitted', () => {
  for (const type of [CMD.READ, CMD.WRITE, CMD.TRIM, CMD.WRITE_ZEROES, CMD.CACHE, CMD.BLOCK_STATUS]) {
    assert.equal(refusal({ type, offset: 1 }), NBD_ERROR.EINVAL);
    assert.equal(refusal({ type, length: 513 }), NBD_ERROR.EINVAL);
    assert.equal(refusal({ type, length: 0 }), NBD_ERROR.EINVAL);
  }
  assert.equal(refusal({ type: CMD.BLOCK_STATUS }, { contexts: false }), NBD_ERROR.EINVAL);
  for (const type of [CMD.WRITE, CMD.TRIM, CMD.WRITE_ZEROES]) assert.equal(refusal({ type }, { readOnly: true }), NBD_ERROR.EPERM);
  for (const type of [CMD.READ, CMD.FLUSH, CMD.CACHE, CMD.BLOCK_STATUS]) assert.equal(refusal({ type }, { readOnly: true }), 0);
});
