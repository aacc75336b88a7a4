// Where a command's words go: descriptors 1 and 2, written to at once. Node's own streams take a command 10 ms to load, so they
// are used only where they are needed: to ask a terminal for its width, and when whoever reads a pipe does not keep up.

import { fstatSync, writeSync } from 'node:fs';

type Descriptor = 1 | 2;

const streams = new Map<Descriptor, NodeJS.WriteStream>();
const major = (device: number): number => (device >> 8) & 0xfff;
/** /dev/null and the like. */
const MEMORY_DEVICES = 1;

export function print(descriptor: Descriptor, text: string): void {
  const stream = streams.get(descriptor);
  if (stream !== undefined) return void stream.write(text);
  const data = Buffer.from(text);
  for (let at = 0; at < data.length;) {
    try {
      at += writeSync(descriptor, data, at);
    } catch (error) {
      if (!isFull(error)) readerGone(error);
      streamOf(descriptor).write(data.subarray(at));
      return;
    }
  }
}

/** Its width, else null when it is no terminal. */
export function terminalColumns(descriptor: Descriptor): number | null {
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isCharacterDevice() || major(stat.rdev) === MEMORY_DEVICES) return null;
  } catch {
    return null;
  }
  const stream = descriptor === 1 ? process.stdout : process.stderr;
  return stream.isTTY ? stream.columns : null;
}

/** At once, unless something that was printed is still on its way. */
export function leave(status: number): void {
  process.exitCode = status;
  if ([...streams.values()].every((stream) => stream.writableLength === 0)) process.exit();
}

function streamOf(descriptor: Descriptor): NodeJS.WriteStream {
  const stream = descriptor === 1 ? process.stdout : process.stderr;
  stream.on('error', readerGone);
  streams.set(descriptor, stream);
  return stream;
}

/** Who reads our output may have gone (`xvd list | head`): that is no failure. */
function readerGone(error: unknown): never {
  process.exit(isCode(error, 'EPIPE') || isCode(error, 'ECONNRESET') ? 0 : 1);
}

const isFull = (error: unknown): boolean => isCode(error, 'EAGAIN');
const isCode = (error: unknown, code: string): boolean => error instanceof Error && 'code' in error && error.code === code;
