// One emulated machine of the lab, from start to power-off: its command line, its console, its end on every path.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LabImage } from './image.ts';
import type { MachineKind } from './job.ts';

export type MachineOptions = {
  readonly kind: MachineKind;
  readonly image: LabImage;
  readonly jobDisk: string;
  readonly resultsDisk: string;
  /** Whether tests may ask for a reset: a line `lab: reset in 500 ms`. Any other end of the machine's run is its end. */
  readonly resets: boolean;
  /** For its data disks and the log of its console. */
  readonly folder: string;
  readonly limitMs: number;
  readonly signal: AbortSignal;
  /** Every line of the console that begins with `lab: `, without that; null = the console is the terminal's. */
  readonly line: ((line: string) => void) | null;
};

const dataBytes = 2 * 1024 * 1024 * 1024;

/** Returns how it ended: null when it powered itself off, else why it was ended. */
export async function runMachine(options: MachineOptions): Promise<string | null> {
  for (const name of ['data0', 'data1']) {
    await writeFile(join(options.folder, name), '');
    await truncate(join(options.folder, name), dataBytes);
  }
  options.signal.throwIfAborted();
  const terminal = options.line === null;
  // Even when this process is killed, no machine is left running.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...machineArguments(options)], {
    stdio: terminal ? 'inherit' : ['ignore', 'pipe', 'pipe'],
  });
  if (options.line !== null) listen(child, options, options.line);
  const limit = AbortSignal.any([options.signal, ...(terminal ? [] : [AbortSignal.timeout(options.limitMs)])]);
  const end = (): void => void child.kill('SIGKILL');
  limit.addEventListener('abort', end);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (limit.aborted) return options.signal.aborted ? 'interrupted' : `not done after ${options.limitMs / 1000} s`;
    return status === 0 ? null : `QEMU ended with ${status}`;
  } finally {
    limit.removeEventListener('abort', end);
  }
}

function machineArguments({ kind, image, jobDisk, resultsDisk, folder, line, resets }: MachineOptions): readonly string[] {
  const disks: readonly (readonly [string, string, string])[] = [
    ['root', image.rootDisk, ',snapshot=on'],
    ['job', jobDisk, ',readonly=on'],
    ['data0', join(folder, 'data0'), ''],
    ['data1', join(folder, 'data1'), ''],
    ['results', resultsDisk, ''],
  ];
  return [
    // `max` kills domain 0 at once; Xen 4.17 does not know how to hide SMAP from it. Elsewhere a processor without vectors of 32 bytes, which
    // cost the emulation more than they save: Node starts in 0.38 s instead of 0.54, `xvd list` takes 0.74 s instead of 1.01.
    ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', kind === 'xen' ? 'max,-smap,-pku' : 'Nehalem', '-smp', '2', '-m', '1G'],
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...(resets ? ['-qmp', `unix:${qmpSocket(folder)},server=on,wait=off`] : ['-no-reboot']),
    ...(line === null ? ['-serial', 'mon:stdio'] : ['-serial', 'stdio']),
    ...kernelArguments(kind, image),
    ...disks.flatMap(([serial, path, flags]) => [
      ...['-drive', `if=none,id=${serial},file=${path.replaceAll(',', ',,')},format=raw,cache=unsafe,discard=unmap${flags}`],
      ...['-device', `virtio-blk-pci,drive=${serial},serial=${serial}`],
    ]),
    ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
  ];
}

function kernelArguments(kind: MachineKind, image: LabImage): readonly string[] {
  // `norandmaps`: programs lie at the same addresses at each start, so what the emulation has translated once is good for the next: in
  // domain 0 `true` takes 18 ms instead of 32, `xl list` 69 instead of 177, `xvd list` 570 instead of 710; elsewhere a third to two thirds.
  const words = 'quiet mitigations=off net.ifnames=0 panic=-1 norandmaps';
  if (kind === 'plain') return ['-kernel', image.kernel, '-initrd', image.ramdisk, '-append', `console=ttyS0 ${words}`];
  // On what looks like an AMD processor Xen switches the vector registers lazily, which the emulation gets wrong: programs in domain 0
  // crash as soon as a guest runs beside them.
  const xen = 'console=com1 com1=115200,8n1 dom0_mem=512M,max:512M spec-ctrl=eager-fpu loglvl=warning noreboot';
  return ['-kernel', image.xen, '-append', xen, '-initrd', `${image.kernel} console=hvc0 ${words},${image.ramdisk}`];
}

function listen(child: ChildProcess, { folder, resets }: MachineOptions, line: (line: string) => void): void {
  const log = createWriteStream(join(folder, 'console.log'));
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  child.once('close', () => log.end());
  if (child.stdout === null) return;
  createInterface({ input: child.stdout }).on('line', (text) => {
    const at = text.indexOf('lab: ');
    if (at < 0) return;
    const said = text.slice(at + 5).trimEnd();
    line(said);
    const [, afterMs] = /^reset in (\d+) ms$/.exec(said) ?? [];
    if (resets && afterMs !== undefined) setTimeout(() => reset(qmpSocket(folder), line), Number(afterMs)).unref();
  });
}

const qmpSocket = (folder: string): string => join(folder, 'qmp');

/** As the button does it: no program of the machine hears of it. */
function reset(socketPath: string, line: (line: string) => void): void {
  const socket = connect(socketPath);
  socket.on('error', (error) => line(`no reset: ${error.message}`));
  let said = '';
  socket.on('data', (part) => {
    said += part.toString();
    if (said.split('"return"').length > 2) socket.destroy();
  });
  socket.write('{"execute":"qmp_capabilities"}{"execute":"system_reset"}');
}
