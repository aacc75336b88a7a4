// For tests: holds the memory of another process for as long as a device hangs, as whoever reads /proc/PID/maps does for a moment.
// Arguments: the process, a file on the device. What is read of the process goes to a page of the file, which the kernel must first
// ask the device for. Prints a line when it has begun.

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { loadKoffi } from '../../host/koffi.ts';

const [pid = '', path = ''] = process.argv.slice(2);
const PROT_READ_WRITE = 3;
const MAP_PRIVATE = 2;
const koffi = loadKoffi();
if (koffi === null) throw new Error('koffi has no binary for this machine');
const libc = koffi.load('libc.so.6');
const mmap = libc.func('void *mmap(void *at, size_t length, int protection, int flags, int fd, int64_t offset)') as (...args: unknown[]) => unknown;
const read = libc.func(
  'int64_t process_vm_readv(int pid, _In_ uint64_t *to, unsigned long tos, _In_ uint64_t *from, unsigned long froms, unsigned long flags)',
);
const fd = openSync(path, 'r');
const page = koffi.address(mmap(null, 4096, PROT_READ_WRITE, MAP_PRIVATE, fd, 0));
closeSync(fd);
const line = readFileSync(`/proc/${pid}/maps`, 'latin1')
  .split('\n')
  .find((mapping) => / rw-p /.test(mapping));
const from = BigInt(`0x${line?.split('-')[0] ?? ''}`);
writeSync(1, 'begun\n');
const count = read(Number(pid), BigUint64Array.of(page, 64n), 1, BigUint64Array.of(from, 64n), 1, 0);
writeSync(1, `read ${count}\n`);
