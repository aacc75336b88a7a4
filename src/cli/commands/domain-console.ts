// The terminal and the guest's console joined until the guest ends or the user presses Ctrl-].

import { connect } from 'node:net';
import { XvdError } from '../../base/error.ts';
import type { Command } from '../command.ts';

const LEAVE = 0x1d;

export const run: Command['run'] = async (context, { args }) => {
  const { path } = await (await context.xvd()).consoleOf({ name: args[0] ?? '' });
  if (context.json) return { value: { path }, text: '' };
  const socket = connect(path);
  const ended = Promise.withResolvers<void>();
  socket.once('close', () => ended.resolve());
  socket.once('error', (error) =>
    ended.reject(new XvdError('HYPERVISOR_FAILED', `the console at ${path} does not answer: ${error.message}`, { cause: error })),
  );
  const { stdin, stdout } = process;
  const keys = (data: Buffer): void => void (data.includes(LEAVE) ? socket.destroy() : socket.write(data));
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', keys).once('end', () => socket.end());
  socket.on('data', (data) => stdout.write(data));
  context.signal.addEventListener('abort', () => socket.destroy());
  try {
    await ended.promise;
  } finally {
    stdin.off('data', keys).pause();
    if (stdin.isTTY) stdin.setRawMode(false);
  }
  return { value: { path }, text: '' };
};
