// The command line of one guest's QEMU, as an argument array. Pure: a description in, arguments out.
//
// The machine is `pc`: its one PCI bus takes disks while the guest runs, without ports made ahead, and its slots give the order of
// names. It starts stopped (-S), so that nothing of the guest has run when a start fails.

import { XvdError } from '../../base/error.ts';
import { MIB } from '../../base/units.ts';
import { kernelCommandLine } from '../../core/domain-description.ts';
import { parseSize } from '../../core/size.ts';
import type { DomainDescription, Endpoint, Generation, VbdMode } from '../../core/types.ts';
import type { Plug } from '../hypervisor.ts';
import { guestNames, rewriteRoot } from './guest-names.ts';
import type { QmpObject } from './qmp-codec.ts';

export type Accelerator = 'kvm' | 'tcg';
export type MachinePaths = { readonly qmpSocket: string; readonly consoleSocket: string; readonly pidFile: string };
export type MachineFacts = {
  readonly accelerator: Accelerator;
  readonly paths: MachinePaths;
  /** QEMU's own when left out. */
  readonly firmwareFile?: string;
};
type PluggedDisk = Pick<Plug, 'generation' | 'mode' | 'endpoint' | 'serial' | 'target' | 'vdev' | 'blockBytes'>;

/** Slots of the bus: 0 the bridge, 1 the board's devices, 2 the network; the rest, up to 31, for disks. */
const firstDiskSlot = 3;
const lastDiskSlot = 31;

export function machineArguments(
  description: DomainDescription,
  disks: readonly PluggedDisk[],
  { accelerator, paths, firmwareFile }: MachineFacts,
): readonly string[] {
  const { name, vcpus = 1, console: log } = description;
  const logged = log === undefined || consoleSocketOf(description) !== null ? '' : `,logfile=${escaped(log)},logappend=on`;
  return [
    ...['-name', `guest=${escaped(name)}`, '-daemonize', '-pidfile', paths.pidFile],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    ...['-machine', 'pc,usb=off,vmport=off', '-accel', accelerator === 'kvm' ? 'kvm' : `tcg${vcpus > 1 ? ',thread=multi' : ''}`],
    ...['-cpu', processorModel(accelerator), '-smp', String(vcpus), '-m', `${Math.ceil(parseSize(description.memory) / MIB)}M`],
    ...bootArguments(description, disks, firmwareFile),
    ...['-chardev', `socket,id=qmp,path=${escaped(paths.qmpSocket)},server=on,wait=off`, '-mon', 'chardev=qmp,mode=control'],
    ...[
      '-chardev',
      `socket,id=console,path=${escaped(consoleSocketOf(description) ?? paths.consoleSocket)},server=on,wait=off${logged}`,
      '-serial',
      'chardev:console',
    ],
    ...networkArguments(description),
    ...diskArguments(disks, description.kernel === undefined),
    ...(description.onExit === 'stop' ? ['-no-reboot'] : []),
  ];
}

/** The guest's first serial line is its console, unless its user chose another. */
export function guestCommandLine(description: DomainDescription, disks: readonly PluggedDisk[]): string {
  const words = rewriteRoot(kernelCommandLine(description), guestNames(disks));
  return /(^| )console=/.test(words) ? words : `console=ttyS0 ${words}`.trimEnd();
}

/** `unix:PATH`: where the user wants the console's socket. */
export const consoleSocketOf = ({ console }: DomainDescription): string | null =>
  console?.startsWith('unix:') === true ? console.slice('unix:'.length) : null;

function bootArguments(description: DomainDescription, disks: readonly PluggedDisk[], firmwareFile: string | undefined): readonly string[] {
  const { kernel, ramdisk } = description;
  const firmware = firmwareFile === undefined ? [] : ['-bios', firmwareFile];
  if (kernel === undefined) return firmware;
  return [...firmware, '-kernel', kernel, ...(ramdisk === undefined ? [] : ['-initrd', ramdisk]), '-append', guestCommandLine(description, disks)];
}

/** `bootable`: the firmware tries them in their order. */
function diskArguments(disks: readonly PluggedDisk[], bootable: boolean): readonly string[] {
  const sorted = disks.toSorted((a, b) => a.vdev - b.vdev);
  const taken = new Set<number>();
  return sorted.flatMap((disk, index) => {
    const slot = freeSlot(taken);
    taken.add(slot);
    return [
      '-blockdev',
      JSON.stringify(nodeOptions(disk)),
      '-device',
      JSON.stringify({ ...deviceOptions(disk, slotOf(slot)), ...(bootable ? { bootindex: index + 1 } : {}) }),
    ];
  });
}

/** All that the accelerator can do. */
export const processorModel = (accelerator: Accelerator): string => (accelerator === 'kvm' ? 'host' : 'max');

/** A comma inside a value is doubled. */
const escaped = (value: string): string => value.replaceAll(',', ',,');

function networkArguments({ network }: DomainDescription): readonly string[] {
  if (network === undefined) return [];
  const backend = network.bridge === undefined ? 'user,id=net0' : `bridge,id=net0,br=${escaped(network.bridge)}`;
  return ['-netdev', backend, '-device', 'virtio-net-pci,netdev=net0,bus=pci.0,addr=0x2,romfile='];
}

/** The node of a VBD has its generation in its name, its device the target too: what QEMU lists tells which VBDs it has, and where. */
export const nodeName = (generation: Generation): string => `vbd${generation}`;
export const deviceName = ({ generation, target }: { readonly generation: Generation; readonly target: string }): string =>
  `${nodeName(generation)}.${targetName(target)}`;
const targetName = (target: string): string => target.replace(/^\/dev\//, '').replaceAll('/', '_');
/** Of the names of devices the one at that target, or the one of that generation. */
export const deviceAt = (names: Iterable<string>, target: string): string | undefined =>
  [...names].find((name) => /^vbd\d+\./.test(name) && name.endsWith(`.${targetName(target)}`));
export const deviceOf = (names: Iterable<string>, generation: Generation): string | undefined =>
  [...names].find((name) => name.startsWith(`${nodeName(generation)}.`));
export const generationOfNode = (name: string): Generation | null => (/^vbd[1-9]\d*$/.test(name) ? Number(name.slice(3)) : null);

/** Requests wait that long for a connection process that is being replaced; then the guest gets an error. */
const reconnectSeconds = 30;

export function nodeOptions(disk: { readonly generation: Generation; readonly mode: VbdMode; readonly endpoint: Endpoint }): QmpObject {
  const { generation, mode, endpoint } = disk;
  const head = { 'node-name': nodeName(generation), 'read-only': mode === 'r', discard: 'unmap' };
  if (endpoint.kind === 'block') return { ...head, driver: 'host_device', filename: endpoint.path, aio: 'threads', cache: { direct: true } };
  return { ...head, driver: 'nbd', server: { type: 'unix', path: endpoint.socketPath }, export: endpoint.exportName, 'reconnect-delay': reconnectSeconds };
}

/** Errors go to the guest: a guest that is paused on “no space” instead would hang without a word. */
/** `where`: of the machine's buses; {} leaves it to QEMU. */
export function deviceOptions(disk: Pick<Plug, 'generation' | 'target' | 'serial' | 'blockBytes'>, where: QmpObject): QmpObject {
  return {
    driver: 'virtio-blk-pci',
    id: deviceName(disk),
    drive: nodeName(disk.generation),
    serial: disk.serial.slice(0, 20),
    // The guest must not ask for less than the disk has: QEMU would read, change and write whole blocks in its place.
    ...(disk.blockBytes === 4096 ? { logical_block_size: 4096, physical_block_size: 4096 } : {}),
    ...where,
    rerror: 'report',
    werror: 'report',
  };
}

export const slotOf = (slot: number): QmpObject => ({ bus: 'pci.0', addr: `0x${slot.toString(16)}` });

export function freeSlot(taken: ReadonlySet<number>): number {
  for (let slot = firstDiskSlot; slot <= lastDiskSlot; slot += 1) if (!taken.has(slot)) return slot;
  throw new XvdError('LIMIT_REACHED', `a QEMU guest takes ${lastDiskSlot - firstDiskSlot + 1} disks at most`, { fix: 'Detach one first.' });
}
