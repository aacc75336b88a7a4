// The fixed newstyle handshake as a pure state machine: bytes in, bytes out, until the client goes, or leaves.
// Whatever the client sends, it holds no more than limits.nbdOptionBytes; the loop around it has the socket.

import { limits } from '../../../base/limits.ts';
import { FLAG, HANDSHAKE_FLAGS, IHAVEOPT, INFO, NBDMAGIC, OPT, OPTION_REPLY_MAGIC, REP } from './constants.ts';

export type Export = {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly transmissionFlags: number;
  /** Smallest, best and largest request. */
  readonly blockSizes: readonly [minimum: number, preferred: number, maximum: number];
  /** Names of the contexts that BLOCK_STATUS can tell of. */
  readonly contexts: readonly string[];
};

/** What a connection may open, asked at the time. */
export type Exports = {
  /** null: unknown, or not for this client, which are told the same. */
  find(name: string): Export | null;
  list(): readonly Export[];
};

export type Negotiated = {
  readonly exported: Export;
  readonly structured: boolean;
  /** Selected context names, in the order of their ids from 1. */ readonly contexts: readonly string[];
};

export type Step = {
  /** Bytes of the input that are done with. */
  readonly consumed: number;
  readonly output: readonly Uint8Array[];
  /** 'tls': the client begins TLS with its next byte, and handshake.secured() goes on inside. */
  readonly next: 'more' | 'end' | 'tls' | { readonly go: Negotiated };
};

type State = {
  phase: 'flags' | 'options';
  noZeroes: boolean;
  structured: boolean;
  contexts: readonly string[];
  chosenFor: string | null;
  readonly tls: boolean;
  /** What it has been asked and has answered, over all: a client that never goes has an end. */
  options: number;
  answered: number;
};
type Answer = { readonly output: readonly Uint8Array[]; readonly next: Step['next'] };

export type Handshake = {
  readonly greeting: Uint8Array;
  step(input: Uint8Array): Step;
  /** After 'tls': the options again, from the start, with the flags that the client gave. */
  secured(exports: Exports): Handshake;
};

/** On a socket that is one VBD's own: the default export ('') is that one. */
export const oneExport = (exported: Export): Exports => ({
  find: (name) => (name === '' || name === exported.name ? exported : null),
  list: () => [exported],
});

/** `exports` null: nothing is told or opened before TLS. */
export function startHandshake(exports: Exports | null): Handshake {
  return handshakeFrom(exports, { phase: 'flags', noZeroes: false, structured: false, contexts: [], chosenFor: null, tls: false, options: 0, answered: 0 });
}

const handshakeFrom = (exports: Exports | null, state: State): Handshake => ({
  greeting: greeting(),
  step: (input) => step(exports, state, input),
  secured: (inside) => handshakeFrom(inside, { ...state, phase: 'options', structured: false, contexts: [], chosenFor: null, tls: true }),
});

function greeting(): Uint8Array {
  const bytes = new Uint8Array(18);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, NBDMAGIC);
  view.setBigUint64(8, IHAVEOPT);
  view.setUint16(16, HANDSHAKE_FLAGS.FIXED_NEWSTYLE | HANDSHAKE_FLAGS.NO_ZEROES);
  return bytes;
}

const wait = (consumed: number, output: readonly Uint8Array[]): Step => ({ consumed, output, next: 'more' });

function step(exports: Exports | null, state: State, input: Uint8Array): Step {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const output: Uint8Array[] = [];
  let at = 0;
  if (state.phase === 'flags') {
    if (input.length < 4) return wait(0, output);
    const flags = view.getUint32(0);
    const known = HANDSHAKE_FLAGS.FIXED_NEWSTYLE | HANDSHAKE_FLAGS.NO_ZEROES;
    if ((flags & ~known) !== 0) return { consumed: 4, output, next: 'end' };
    state.noZeroes = (flags & HANDSHAKE_FLAGS.NO_ZEROES) !== 0;
    state.phase = 'options';
    at = 4;
  }
  while (input.length - at >= 16) {
    if (view.getBigUint64(at) !== IHAVEOPT) return { consumed: at, output, next: 'end' };
    const option = view.getUint32(at + 8);
    const length = view.getUint32(at + 12);
    // No option of ours needs more; one that is longer is not read, so the connection can't go on.
    if (length > limits.nbdOptionBytes) return { consumed: at, output: [...output, optionReply(option, REP.ERR_TOO_BIG)], next: 'end' };
    if (input.length - at - 16 < length) break;
    const answer = exports === null ? beforeTls(option, length) : answerOption(exports, state, option, input.subarray(at + 16, at + 16 + length));
    at += 16 + length;
    if (isTooMuch(state, answer)) return { consumed: at, output, next: 'end' };
    output.push(...answer.output);
    if (answer.next !== 'more') return { consumed: at, output, next: answer.next };
  }
  return wait(at, output);
}

function isTooMuch(state: State, { output }: Answer): boolean {
  state.options += 1;
  for (const bytes of output) state.answered += bytes.length;
  return state.options > limits.nbdOptions || state.answered > limits.nbdAnswerBytes;
}

/** In the protocol's words, FORCEDTLS. */
function beforeTls(option: number, length: number): Answer {
  if (option === OPT.ABORT) return { output: [optionReply(option, REP.ACK)], next: 'end' };
  // This option has no way to be refused.
  if (option === OPT.EXPORT_NAME) return { output: [], next: 'end' };
  if (option !== OPT.STARTTLS) return { output: [optionReply(option, REP.ERR_TLS_REQD, new TextEncoder().encode('TLS comes first'))], next: 'more' };
  if (length > 0) return { output: [optionReply(option, REP.ERR_INVALID)], next: 'more' };
  return { output: [optionReply(option, REP.ACK)], next: 'tls' };
}

function answerOption(exports: Exports, state: State, option: number, data: Uint8Array): Answer {
  const ack = (): Answer => ({ output: [optionReply(option, REP.ACK)], next: 'more' });
  const refuse = (type: number, message = ''): Answer => ({ output: [optionReply(option, type, new TextEncoder().encode(message))], next: 'more' });
  switch (option) {
    case OPT.EXPORT_NAME:
      return exportName(exports, state, data);
    case OPT.ABORT:
      return { output: [optionReply(option, REP.ACK)], next: 'end' };
    case OPT.LIST:
      return data.length > 0 ? refuse(REP.ERR_INVALID, 'LIST has no data') : list(exports.list());
    case OPT.INFO:
    case OPT.GO:
      return infoOrGo(exports, state, option, data);
    case OPT.STRUCTURED_REPLY:
      if (data.length > 0) return refuse(REP.ERR_INVALID, 'STRUCTURED_REPLY has no data');
      state.structured = true;
      return ack();
    case OPT.LIST_META_CONTEXT:
    case OPT.SET_META_CONTEXT:
      return metaContext(exports, state, option, data);
    case OPT.STARTTLS:
      return state.tls ? refuse(REP.ERR_INVALID, 'TLS is on already') : refuse(REP.ERR_POLICY, 'no TLS on this socket');
    default:
      return refuse(REP.ERR_UNSUP);
  }
}

function optionReply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(20 + data.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, OPTION_REPLY_MAGIC);
  view.setUint32(8, option);
  view.setUint32(12, type);
  view.setUint32(16, data.length);
  bytes.set(data, 20);
  return bytes;
}

/** Contexts hold for the export that they were chosen for. */
const agreed = (state: State, exported: Export): Negotiated => ({
  exported,
  structured: state.structured,
  contexts: state.chosenFor === exported.name ? state.contexts : [],
});

function exportName(exports: Exports, state: State, data: Uint8Array): Answer {
  const name = text(data);
  const exported = name === null ? null : exports.find(name);
  // The protocol gives this option no way to refuse but to end the connection.
  if (exported === null) return { output: [], next: 'end' };
  const bytes = new Uint8Array(state.noZeroes ? 10 : 134);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(exported.sizeBytes));
  view.setUint16(8, flagsOf(exported, state));
  return { output: [bytes], next: { go: agreed(state, exported) } };
}

function list(exports: readonly Export[]): Answer {
  const servers = exports.map((exported) => {
    const name = new TextEncoder().encode(exported.name);
    const data = new Uint8Array(4 + name.length);
    new DataView(data.buffer).setUint32(0, name.length);
    data.set(name, 4);
    return optionReply(OPT.LIST, REP.SERVER, data);
  });
  return { output: [...servers, optionReply(OPT.LIST, REP.ACK)], next: 'more' };
}

function text(data: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    return null;
  }
}

/** u32 length and that many bytes, at an offset; null when they are not there or too long for a name. */
function counted(data: Uint8Array, at: number): { value: string; end: number } | null {
  if (data.length < at + 4) return null;
  const length = new DataView(data.buffer, data.byteOffset).getUint32(at);
  if (length > limits.nbdNameLength || data.length < at + 4 + length) return null;
  const value = text(data.subarray(at + 4, at + 4 + length));
  return value === null ? null : { value, end: at + 4 + length };
}

function infoOrGo(exports: Exports, state: State, option: number, data: Uint8Array): Answer {
  const refuse = (type: number, message: string): Answer => ({ output: [optionReply(option, type, new TextEncoder().encode(message))], next: 'more' });
  const name = counted(data, 0);
  if (name === null || data.length < name.end + 2) return refuse(REP.ERR_INVALID, 'malformed');
  const view = new DataView(data.buffer, data.byteOffset);
  const count = view.getUint16(name.end);
  if (data.length !== name.end + 2 + 2 * count) return refuse(REP.ERR_INVALID, 'malformed');
  const exported = exports.find(name.value);
  if (exported === null) return refuse(REP.ERR_UNKNOWN, 'no such export');
  const wanted = new Set(Array.from({ length: count }, (_, index) => view.getUint16(name.end + 2 + 2 * index)));
  const output = [optionReply(option, REP.INFO, exportInfo(exported, flagsOf(exported, state))), optionReply(option, REP.INFO, blockSizeInfo(exported))];
  if (wanted.has(INFO.NAME)) output.push(optionReply(option, REP.INFO, textInfo(INFO.NAME, exported.name)));
  if (wanted.has(INFO.DESCRIPTION)) output.push(optionReply(option, REP.INFO, textInfo(INFO.DESCRIPTION, exported.description)));
  output.push(optionReply(option, REP.ACK));
  return { output, next: option === OPT.GO ? { go: agreed(state, exported) } : 'more' };
}

/** Nothing is fragmented, or told not to be, without structured replies. */
const flagsOf = (exported: Export, state: State): number => (state.structured ? exported.transmissionFlags : exported.transmissionFlags & ~FLAG.SEND_DF);

function exportInfo(exported: Export, transmissionFlags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint16(0, INFO.EXPORT);
  view.setBigUint64(2, BigInt(exported.sizeBytes));
  view.setUint16(10, transmissionFlags);
  return new Uint8Array(view.buffer);
}

function blockSizeInfo(exported: Export): Uint8Array {
  const view = new DataView(new ArrayBuffer(14));
  view.setUint16(0, INFO.BLOCK_SIZE);
  exported.blockSizes.forEach((size, index) => view.setUint32(2 + 4 * index, size));
  return new Uint8Array(view.buffer);
}

function textInfo(type: number, value: string): Uint8Array {
  const encoded = new TextEncoder().encode(value);
  const bytes = new Uint8Array(2 + encoded.length);
  new DataView(bytes.buffer).setUint16(0, type);
  bytes.set(encoded, 2);
  return bytes;
}

function metaContext(exports: Exports, state: State, option: number, data: Uint8Array): Answer {
  const refuse = (type: number, message: string): Answer => ({ output: [optionReply(option, type, new TextEncoder().encode(message))], next: 'more' });
  const setting = option === OPT.SET_META_CONTEXT;
  if (setting) state.contexts = [];
  const name = counted(data, 0);
  if (name === null || data.length < name.end + 4) return refuse(REP.ERR_INVALID, 'malformed');
  if (!state.structured) return refuse(REP.ERR_INVALID, 'structured replies come first');
  const queries: string[] = [];
  let at = name.end + 4;
  for (let left = new DataView(data.buffer, data.byteOffset).getUint32(name.end); left > 0; left -= 1) {
    const query = counted(data, at);
    if (query === null) return refuse(REP.ERR_INVALID, 'malformed');
    queries.push(query.value);
    at = query.end;
  }
  if (at !== data.length) return refuse(REP.ERR_INVALID, 'malformed');
  const exported = exports.find(name.value);
  if (exported === null) return refuse(REP.ERR_UNKNOWN, 'no such export');
  const all = !setting && queries.length === 0;
  // `namespace:` asks for all of a namespace, and only when listing.
  const found = exported.contexts.filter(
    (context) => all || queries.some((query) => query === context || (!setting && query.endsWith(':') && context.startsWith(query))),
  );
  if (setting) [state.contexts, state.chosenFor] = [found, exported.name];
  return {
    output: [
      ...found.map((context, index) => optionReply(option, REP.META_CONTEXT, contextInfo(setting ? index + 1 : 0, context))),
      optionReply(option, REP.ACK),
    ],
    next: 'more',
  };
}

function contextInfo(id: number, name: string): Uint8Array {
  const encoded = new TextEncoder().encode(name);
  const bytes = new Uint8Array(4 + encoded.length);
  new DataView(bytes.buffer).setUint32(0, id);
  bytes.set(encoded, 4);
  return bytes;
}
