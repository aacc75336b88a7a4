// The QEMU Machine Protocol without a socket: bytes in, messages out; commands in, bytes out.
// QEMU sends one JSON object a line. What it sends is checked here once; behind this point messages are trusted.

export type QmpValue = null | boolean | number | string | readonly QmpValue[] | { readonly [key: string]: QmpValue };
export type QmpObject = { readonly [key: string]: QmpValue };

export type QmpMessage =
  | { readonly kind: 'greeting' }
  | { readonly kind: 'answer'; readonly id: number | null; readonly value: QmpValue }
  | { readonly kind: 'failure'; readonly id: number | null; readonly reason: string }
  | { readonly kind: 'event'; readonly event: string; readonly data: QmpObject }
  /** Not of the protocol: the connection must be ended. */
  | { readonly kind: 'malformed'; readonly reason: string };

/** What arrived of a line that is not ended yet. */
export type QmpRest = { readonly bytes: Uint8Array };
export const qmpStart: QmpRest = { bytes: new Uint8Array(0) };

/** A line of `query-block` with 26 disks is some 30 KiB: a line longer than this is no QEMU. */
export const qmpLineBytes = 4 * 1024 * 1024;

const newline = 0x0a;

export function decodeQmp(rest: QmpRest, chunk: Uint8Array): { readonly rest: QmpRest; readonly messages: readonly QmpMessage[] } {
  const messages: QmpMessage[] = [];
  let bytes = rest.bytes.length === 0 ? chunk : joined(rest.bytes, chunk);
  for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline)) {
    const line = new TextDecoder().decode(bytes.subarray(0, end)).trim();
    bytes = bytes.subarray(end + 1);
    if (line !== '') messages.push(messageOfLine(line));
  }
  if (bytes.length > qmpLineBytes) messages.push({ kind: 'malformed', reason: `a line of more than ${qmpLineBytes} bytes` });
  return { rest: { bytes: bytes.slice() }, messages };
}

export const encodeQmp = (id: number, command: string, args: QmpObject = {}): string => `${JSON.stringify({ execute: command, arguments: args, id })}\n`;

function messageOfLine(line: string): QmpMessage {
  const value = parsed(line);
  if (!isObject(value)) return { kind: 'malformed', reason: `no JSON object: ${line.slice(0, 200)}` };
  const id = typeof value['id'] === 'number' ? value['id'] : null;
  if ('QMP' in value) return { kind: 'greeting' };
  if (typeof value['event'] === 'string') return { kind: 'event', event: value['event'], data: isObject(value['data']) ? value['data'] : {} };
  if ('return' in value) return { kind: 'answer', id, value: value['return'] ?? null };
  if (isObject(value['error'])) return { kind: 'failure', id, reason: reasonOf(value['error']) };
  return { kind: 'malformed', reason: `an object of no known kind: ${line.slice(0, 200)}` };
}

function reasonOf(error: QmpObject): string {
  const reason = error['desc'] ?? error['class'];
  return typeof reason === 'string' ? reason : 'no reason given';
}

function parsed(line: string): QmpValue {
  try {
    return JSON.parse(line) as QmpValue;
  } catch {
    return null;
  }
}

export const isObject = (value: QmpValue | undefined): value is QmpObject => typeof value === 'object' && value !== null && !Array.isArray(value);

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
