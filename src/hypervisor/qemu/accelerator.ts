// Finds out whether KVM really runs guests here. That /dev/kvm is there says nothing: inside another virtual machine it may run the
// instructions of 1978 and hang in 64-bit mode. So a machine is started whose firmware enters that mode, and what it says is heard.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import type { Programs } from '../../host/programs.ts';
import { processorModel } from './machine.ts';
import type { Accelerator } from './machine.ts';

const firmwareBytes = 64 * 1024;
/** A processor starts 16 bytes below the end of the firmware: jump far to its first byte, below 1 MiB. */
const resetVector = [0xea, 0x00, 0x00, 0x00, 0xf0];
const firmwareCode = [
  '31c08ed8', //                         ax = ds = 0
  '66c7060010032000 00', //              page tables at 0x1000, 0x2000 and 0x3000: the first 2 MiB as they are
  '66c7060020033000 00',
  '66c7060030830000 00',
  '2e660f01167000', //                   lgdt 0x70
  '66b8200000000f22e0', //               cr4 = PAE
  '66b8001000000f22d8', //               cr3 = 0x1000
  '66b9800000c00f320d00010f30', //       EFER.LME
  '66b8110000800f22c0', //               cr0 = paging and protection: long mode
  '66ea56000f000800', //                 far jump into 64-bit code at 0x56
  'b010e6f4f4', //                       0x56: out 0xf4, 0x10; hlt
  '0f1f440000',
  '0000000000000000', //                 0x60: the null segment, the code segment
  '00000000009a2000',
  '0f0060000f00', //                     0x70: the table at 0xf0060, 16 bytes
];
/** The debug device at port 0xf4 ends QEMU with twice the written value and one. */
const ranStatus = 0x10 * 2 + 1;
const PROBE_MS = 5_000;
/** It is ended by timeout(1), not by us: should we be killed meanwhile, it would run for ever where KVM hangs, and at full speed. That is given so long. */
const ENDING_MS = 2_000;

export async function chooseAccelerator(programs: Programs): Promise<Accelerator> {
  return (await runsUnder(programs, 'kvm')) ? 'kvm' : 'tcg';
}

export async function runsUnder(programs: Programs, accelerator: Accelerator, probeMs = PROBE_MS): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'xvd-kvm-'));
  try {
    await writeFile(join(folder, 'firmware'), firmware());
    const limit = ['--signal=KILL', String(probeMs / 1000), programs.require('qemu-system-x86_64')];
    const { status } = await programs.run('timeout', [...limit, ...probeArguments(accelerator, join(folder, 'firmware'))], {
      timeoutMs: probeMs + ENDING_MS,
      okStatus: [ranStatus],
    });
    return status === ranStatus;
  } catch (error) {
    if (error instanceof XvdError && error.code === 'PROGRAM_FAILED') return false;
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function firmware(): Uint8Array {
  const whole = new Uint8Array(firmwareBytes);
  whole.set(Buffer.from(firmwareCode.join('').replaceAll(' ', ''), 'hex'));
  whole.set(resetVector, firmwareBytes - 16);
  return whole;
}

const probeArguments = (accelerator: Accelerator, path: string): readonly string[] => [
  ...[
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-no-reboot',
    '-machine',
    'pc',
    '-accel',
    accelerator,
    '-cpu',
    processorModel(accelerator),
    '-m',
    '2M',
  ],
  ...['-bios', path, '-device', 'isa-debug-exit,iobase=0xf4,iosize=0x1'],
];
