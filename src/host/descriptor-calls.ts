// System calls that hand open descriptors to another process, and put them where it wants them.

import type { Koffi, Libc } from './koffi.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const SYS_CLOSE_RANGE = 436;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
const F_SETFD = 2;
const F_SETFL = 4;
const O_RDWR = 2;
/** struct msghdr and struct cmsghdr on 64-bit Linux. */
const HEADER = { bytes: 56, vector: 16, vectors: 24, control: 32, controlBytes: 40 } as const;
const CONTROL_HEADER_BYTES = 16;
const MOST_DESCRIPTORS = 250;
const MESSAGE_BYTES = 65_536;

export type Received = { readonly message: Uint8Array; readonly descriptors: readonly number[] };

export type DescriptorCalls = {
  /** Sends a message (1 byte or more, at most 64 KiB) and descriptors (at most 250) over a Unix socket; bytes, or -errno. */
  sendDescriptors(socket: number, message: Uint8Array, descriptors: readonly number[]): number;
  /** Waits for one such message; null at the end of the socket, or when it fails. */
  receiveDescriptors(socket: number): Received | null;
  /** Makes `to` another name of what `from` is; 0 or -errno. */
  moveDescriptor(from: number, to: number): number;
  /** Calls on it wait, whatever its other holder wanted; 0 or -errno. */
  makeBlocking(fd: number): number;
  /** Calls on the socket wait no longer than that, and give -EAGAIN then; 0 = for ever. 0 or -errno. */
  limitWaiting(socket: number, milliseconds: number): number;
  /** The same for what is received only. */
  limitReceiving(socket: number, milliseconds: number): number;
  /** Closes every descriptor from one to another, that one too; 0 or -errno. */
  closeRange(from: number, to: number): number;
  /** Two connected Unix sockets, through which each message goes by itself; null where there is no place for them. */
  socketPair(): readonly [number, number] | null;
  /** The socket takes so many bytes before send() waits for its other side; 0 or -errno. */
  growSendBuffer(socket: number, bytes: number): number;
  /** The descriptor stays open in the program that execute() begins; 0 or -errno. */
  keepOnExecute(fd: number): number;
  /** This process becomes another program, with its own number, and nothing of Node is left. Returns only when that fails: -errno. */
  execute(path: string, args: readonly string[], environment: Readonly<Record<string, string>>): number;
};

export function bindDescriptors(koffi: Koffi, libc: Libc, answer: (result: number) => number): DescriptorCalls {
  const sendmsg = libc.func('int64_t sendmsg(int fd, uint64_t message, int flags)');
  const recvmsg = libc.func('int64_t recvmsg(int fd, uint64_t message, int flags)');
  const dup2 = libc.func('int dup2(int from, int to)');
  const closeRange = libc.func('long syscall(long number, uint32_t from, uint32_t to, uint32_t flags)');
  const fcntl = libc.func('int fcntl(int fd, int command, int argument)');
  const execve = libc.func('int execve(const char *path, const char **args, const char **environment)');
  /** Header, vector, control data and message in one piece of memory that stays where it is. */
  const prepare = (descriptors: number): { memory: Buffer; address: bigint; controlAt: number; messageAt: number } => {
    const controlAt = HEADER.bytes + 16;
    const controlBytes = CONTROL_HEADER_BYTES + Math.ceil((4 * descriptors) / 8) * 8;
    const messageAt = controlAt + controlBytes;
    const memory = Buffer.alloc(messageAt + MESSAGE_BYTES);
    const address = koffi.address(memory);
    memory.writeBigUInt64LE(address + BigInt(HEADER.bytes), HEADER.vector);
    memory.writeBigUInt64LE(1n, HEADER.vectors);
    memory.writeBigUInt64LE(address + BigInt(controlAt), HEADER.control);
    memory.writeBigUInt64LE(BigInt(controlBytes), HEADER.controlBytes);
    memory.writeBigUInt64LE(address + BigInt(messageAt), HEADER.bytes);
    memory.writeBigUInt64LE(BigInt(MESSAGE_BYTES), HEADER.bytes + 8);
    return { memory, address, controlAt, messageAt };
  };
  return {
    sendDescriptors(socket, message, descriptors) {
      const { memory, address, controlAt, messageAt } = prepare(descriptors.length);
      memory.set(message, messageAt);
      memory.writeBigUInt64LE(BigInt(message.length), HEADER.bytes + 8);
      memory.writeBigUInt64LE(BigInt(CONTROL_HEADER_BYTES + 4 * descriptors.length), controlAt);
      memory.writeInt32LE(SOL_SOCKET, controlAt + 8);
      memory.writeInt32LE(SCM_RIGHTS, controlAt + 12);
      if (descriptors.length === 0) memory.writeBigUInt64LE(0n, HEADER.controlBytes);
      descriptors.forEach((fd, index) => memory.writeInt32LE(fd, controlAt + CONTROL_HEADER_BYTES + 4 * index));
      return answer(sendmsg(socket, address, MSG_NOSIGNAL));
    },
    receiveDescriptors(socket) {
      const { memory, address, controlAt, messageAt } = prepare(MOST_DESCRIPTORS);
      const length = answer(recvmsg(socket, address, 0));
      if (length <= 0) return null;
      const carried = memory.readBigUInt64LE(HEADER.controlBytes) === 0n ? 0 : Number(memory.readBigUInt64LE(controlAt)) - CONTROL_HEADER_BYTES;
      const descriptors = Array.from({ length: carried / 4 }, (_, index) => memory.readInt32LE(controlAt + CONTROL_HEADER_BYTES + 4 * index));
      return { message: Uint8Array.from(memory.subarray(messageAt, messageAt + length)), descriptors };
    },
    moveDescriptor: (from, to) => Math.min(0, answer(dup2(from, to))),
    makeBlocking: (fd) => answer(fcntl(fd, F_SETFL, O_RDWR)),
    closeRange: (from, to) => answer(closeRange(SYS_CLOSE_RANGE, from, to, 0)),
    ...bindSockets(libc, answer),
    keepOnExecute: (fd) => answer(fcntl(fd, F_SETFD, 0)),
    execute(path, args, environment) {
      const words = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
      return answer(execve(path, [...args, null], [...words, null]));
    },
  };
}

function bindSockets(
  libc: Libc,
  answer: (result: number) => number,
): Pick<DescriptorCalls, 'socketPair' | 'growSendBuffer' | 'limitWaiting' | 'limitReceiving'> {
  const socketpair = libc.func('int socketpair(int domain, int type, int protocol, _Out_ int *pair)');
  const setsockopt = libc.func('int setsockopt(int fd, int level, int name, _In_ int64_t *value, uint32_t length)');
  const limit = (socket: number, name: number, milliseconds: number): number => {
    const time = BigInt64Array.of(BigInt(Math.floor(milliseconds / 1000)), BigInt(Math.ceil((milliseconds % 1000) * 1000)));
    return answer(setsockopt(socket, SOL_SOCKET, name, time, time.byteLength));
  };
  return {
    limitWaiting: (socket, milliseconds) => Math.min(limit(socket, SO_RCVTIMEO, milliseconds), limit(socket, SO_SNDTIMEO, milliseconds)),
    limitReceiving: (socket, milliseconds) => limit(socket, SO_RCVTIMEO, milliseconds),
    socketPair() {
      const pair = new Int32Array(2);
      if (answer(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) < 0) return null;
      const [one = -1, other = -1] = pair;
      return [one, other];
    },
    growSendBuffer(socket, bytes) {
      const value = BigInt64Array.of(BigInt(bytes));
      const forced = answer(setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, value, 4));
      return forced === 0 ? 0 : answer(setsockopt(socket, SOL_SOCKET, SO_SNDBUF, value, 4));
    },
  };
}
