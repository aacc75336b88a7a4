// The codec by bytes alone: what clients may say, what none may, and that no bytes at all make it fail, grow or hang.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../../base/limits.ts';
import { goData, optionBytes, requestBytes } from '../fixture-client.ts';
import { CMD, CMD_FLAG, FLAG, INFO, NBD_ERROR, OPT, REP } from './constants.ts';
import { oneExport, startHandshake } from './handshake.ts';
import type { Export, Step } from './handshake.ts';
import { parseRequest, refusalOf, requestPlace } from './transmission.ts';

const exported: Export = {
  name: 'web01/xvda@17',
  description: 'xvd',
  sizeBytes: 2 ** 40,
  transmissionFlags: FLAG.HAS_FLAGS | FLAG.SEND_FLUSH,
  blockSizes: [512, 4096, limits.nbdRequestBytes],
  contexts: ['base:allocation', 'xvd:run'],
};
const FLAGS = Buffer.from([0, 0, 0, 3]);

type Reply = { readonly option: number; readonly type: number; readonly data: Buffer };

/** The option replies in what a step sent. */
function repliesOf({ output }: Step): Reply[] {
  return output.map((bytes) => {
    const reply = Buffer.from(bytes);
    return { option: reply.readUInt32BE(8), type: reply.readUInt32BE(12), data: reply.subarray(20) };
  });
}

const say = (...parts: Uint8Array[]): Step => startHandshake(oneExport(exported)).step(Buffer.concat([FLAGS, ...parts]));

function contextData(name: string, ...queries: string[]): Buffer {
  const counted = (text: string): Buffer => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(Buffer.byteLength(text));
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const count = Buffer.alloc(4);
  count.writeUInt32BE(queries.length);
  return Buffer.concat([counted(name), count, ...queries.map(counted)]);
}

test('GO tells size, flags and block sizes, and what else was asked for, then transmission begins', () => {
  const step = say(optionBytes(OPT.GO, goData('web01/xvda@17', [INFO.NAME])));
  assert.deepEqual(step.next, { go: { exported, structured: false, contexts: [] } });
  const replies = repliesOf(step);
  assert.deepEqual(
    replies.map(({ type, data }) => [type, type === REP.INFO ? data.readUInt16BE(0) : 0]),
    [
      [REP.INFO, INFO.EXPORT],
      [REP.INFO, INFO.BLOCK_SIZE],
      [REP.INFO, INFO.NAME],
      [REP.ACK, 0],
    ],
  );
  assert.equal(replies[0]?.data.readBigUInt64BE(2), 2n ** 40n);
});

test('INFO answers the same and stays in the handshake', () => {
  const step = say(optionBytes(OPT.INFO, goData('')));
  assert.equal(step.next, 'more');
  assert.equal(repliesOf(step).at(-1)?.type, REP.ACK);
});

test('EXPORT_NAME is answered with and without the zeroes', () => {
  const name = Buffer.from('web01/xvda@17');
  assert.equal(say(optionBytes(OPT.EXPORT_NAME, name)).output[0]?.length, 10);
  assert.equal(startHandshake(oneExport(exported)).step(Buffer.concat([Buffer.from([0, 0, 0, 1]), optionBytes(OPT.EXPORT_NAME, name)])).output[0]?.length, 134);
  assert.equal(say(optionBytes(OPT.EXPORT_NAME, Buffer.from('web01/xvda@18'))).next, 'end');
});

test('another generation of the same name is unknown here', () => {
  const step = say(optionBytes(OPT.GO, goData('web01/xvda@18')));
  assert.equal(repliesOf(step)[0]?.type, REP.ERR_UNKNOWN);
  assert.equal(step.next, 'more');
});

test('contexts are listed, chosen and numbered from 1, and only after structured replies', () => {
  assert.equal(repliesOf(say(optionBytes(OPT.SET_META_CONTEXT, contextData('', 'base:allocation'))))[0]?.type, REP.ERR_INVALID);
  const listed = repliesOf(say(optionBytes(OPT.STRUCTURED_REPLY), optionBytes(OPT.LIST_META_CONTEXT, contextData('', 'xvd:'))));
  assert.deepEqual(
    listed.map(({ type, data }) => [type, data.subarray(4).toString()]),
    [
      [REP.ACK, ''],
      [REP.META_CONTEXT, 'xvd:run'],
      [REP.ACK, ''],
    ],
  );
  const step = say(
    optionBytes(OPT.STRUCTURED_REPLY),
    optionBytes(OPT.SET_META_CONTEXT, contextData('', 'no:such', 'base:allocation')),
    optionBytes(OPT.GO, goData('')),
  );
  assert.deepEqual(step.next, { go: { exported, structured: true, contexts: ['base:allocation'] } });
  assert.equal(repliesOf(step)[1]?.data.readUInt32BE(0), 1);
});

test('unknown options, TLS and malformed data are refused by the words of the protocol', () => {
  const first = (option: number, data?: Uint8Array): number | undefined => repliesOf(say(optionBytes(option, data)))[0]?.type;
  assert.equal(first(77), REP.ERR_UNSUP);
  assert.equal(first(OPT.STARTTLS), REP.ERR_POLICY);
  assert.equal(first(OPT.LIST, Buffer.alloc(1)), REP.ERR_INVALID);
  assert.equal(first(OPT.STRUCTURED_REPLY, Buffer.alloc(1)), REP.ERR_INVALID);
  assert.equal(first(OPT.GO, Buffer.alloc(3)), REP.ERR_INVALID);
  assert.equal(first(OPT.GO, Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0])), REP.ERR_INVALID);
  assert.equal(startHandshake(oneExport(exported)).step(Buffer.from([0xff, 0, 0, 3])).next, 'end');
});

/** A talk that is well-formed, to be damaged. */
const talk = Buffer.concat([
  FLAGS,
  optionBytes(OPT.STRUCTURED_REPLY),
  optionBytes(OPT.LIST),
  optionBytes(OPT.LIST_META_CONTEXT, contextData('', 'base:')),
  optionBytes(OPT.SET_META_CONTEXT, contextData('', 'base:allocation', 'xvd:run')),
  optionBytes(OPT.INFO, goData('', [1, 2])),
  optionBytes(OPT.GO, goData('web01/xvda@17', [3])),
]);
const damage = fc.array(fc.record({ at: fc.nat(talk.length - 1), value: fc.nat(255), kind: fc.constantFrom('set', 'cut', 'insert', 'repeat') }), {
  maxLength: 6,
});

function damaged(changes: readonly { readonly at: number; readonly value: number; readonly kind: string }[]): Buffer {
  let bytes = Buffer.from(talk);
  for (const { at, value, kind } of changes) {
    const place = Math.min(at, bytes.length);
    if (kind === 'set' && place < bytes.length) bytes[place] = value;
    if (kind === 'cut') bytes = Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + value)]);
    if (kind === 'insert') bytes = Buffer.concat([bytes.subarray(0, place), Buffer.alloc(value % 16, value), bytes.subarray(place)]);
    if (kind === 'repeat') bytes = Buffer.concat([bytes, bytes.subarray(place)]);
  }
  return bytes;
}

test('however a handshake is damaged and cut into pieces, its answers are the same, bounded, and never an exception', () => {
  fc.assert(
    fc.property(damage, fc.infiniteStream(fc.integer({ min: 1, max: 60 })), (changes, sizes) => {
      const bytes = damaged(changes);
      const whole = startHandshake(oneExport(exported)).step(bytes);
      const pieces = startHandshake(oneExport(exported));
      const output: Uint8Array[] = [];
      let held = Buffer.alloc(0);
      let next: Step['next'] = 'more';
      for (let at = 0; at < bytes.length && next === 'more';) {
        const size = sizes.next().value;
        held = Buffer.concat([held, bytes.subarray(at, at + size)]);
        at += size;
        const step = pieces.step(held);
        held = held.subarray(step.consumed);
        output.push(...step.output);
        next = step.next;
        assert.ok(held.length <= limits.nbdOptionBytes + 16);
      }
      assert.deepEqual(Buffer.concat(output), Buffer.concat(whole.output));
      assert.deepEqual(next, whole.next);
      // Not more than a name and a few words for each option.
      assert.ok(Buffer.concat(output).length <= 16 * (bytes.length + 100));
    }),
    { numRuns: 500 },
  );
});

test('whatever is asked, what passes lies inside the VBD, is whole blocks, and never writes to a VBD for reading', () => {
  const served = { sizeBytes: 1024 * 1024, readOnly: false, minimumBytes: 512, contexts: true };
  const request = fc.record({
    type: fc.nat(12),
    flags: fc.nat(0xffff),
    offset: fc.oneof(
      fc.nat(2 * 1024 * 1024),
      fc.maxSafeNat(),
      fc.nat(4096).map((sector) => sector * 512),
    ),
    length: fc.oneof(
      fc.nat(2 * 1024 * 1024),
      fc.nat(0xffffffff),
      fc.nat(4096).map((sector) => sector * 512),
    ),
  });
  fc.assert(
    fc.property(request, fc.boolean(), (fields, readOnly) => {
      const parsed = requestPlace();
      assert.ok(parseRequest(requestBytes(fields), 0, parsed));
      if (refusalOf(parsed, { ...served, readOnly }) !== 0) return;
      const { type, offset, length } = parsed;
      assert.ok(Object.values(CMD).some((known) => known === type));
      if (type === CMD.FLUSH) return;
      assert.ok(length > 0 && offset + length <= served.sizeBytes && offset % 512 === 0 && length % 512 === 0);
      assert.ok(!readOnly || ![CMD.WRITE, CMD.TRIM, CMD.WRITE_ZEROES].some((write) => write === type));
    }),
    { numRuns: 2000 },
  );
});

test('a request without the magic is none, and an offset past what a number holds exactly is refused', () => {
  const parsed = requestPlace();
  assert.equal(parseRequest(Buffer.alloc(28), 0, parsed), false);
  const bytes = requestBytes({ type: CMD.WRITE, length: 512, flags: CMD_FLAG.FUA });
  bytes.fill(0xff, 16, 24);
  assert.ok(parseRequest(bytes, 0, parsed));
  assert.equal(refusalOf(parsed, { sizeBytes: limits.sizeBytes, readOnly: false, minimumBytes: 1, contexts: false }), NBD_ERROR.ENOSPC);
});

test('before TLS nothing is told or opened; inside, only what the client may open, and contexts hold for their export', () => {
  const other: Export = { ...exported, name: 'web01/xvdb@18' };
  const plain = startHandshake(null);
  const before = plain.step(
    Buffer.concat([FLAGS, optionBytes(OPT.LIST), optionBytes(OPT.GO, goData('web01/xvda@17')), optionBytes(OPT.STARTTLS), optionBytes(OPT.LIST)]),
  );
  assert.deepEqual(
    repliesOf(before).map(({ type }) => type),
    [REP.ERR_TLS_REQD, REP.ERR_TLS_REQD, REP.ACK],
  );
  assert.equal(before.next, 'tls');
  assert.equal(startHandshake(null).step(Buffer.concat([FLAGS, optionBytes(OPT.EXPORT_NAME, Buffer.from('web01/xvda@17'))])).next, 'end');
  const all = [exported, other];
  const inside = plain.secured({ find: (name) => all.find((one) => one.name === name) ?? null, list: () => all });
  const talked = inside.step(
    Buffer.concat([
      optionBytes(OPT.STARTTLS),
      optionBytes(OPT.LIST),
      optionBytes(OPT.GO, goData('')),
      optionBytes(OPT.STRUCTURED_REPLY),
      optionBytes(OPT.SET_META_CONTEXT, contextData('web01/xvda@17', 'base:allocation')),
      optionBytes(OPT.GO, goData('web01/xvdb@18')),
    ]),
  );
  assert.deepEqual(
    repliesOf(talked)
      .slice(0, 5)
      .map(({ type }) => type),
    [REP.ERR_INVALID, REP.SERVER, REP.SERVER, REP.ACK, REP.ERR_UNKNOWN],
  );
  assert.deepEqual(talked.next, { go: { exported: other, structured: true, contexts: [] } });
});
