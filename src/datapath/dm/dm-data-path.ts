// The device-mapper data path: one device for each VBD, made of linear targets. No process of ours stands between a guest and
// its disk, and nothing is remembered here: what exists is found by its UUID, by whichever daemon. Revoking makes the error
// table live; from then on the device leads nowhere, and it goes as soon as its holder lets it go.

import { closeSync, constants, existsSync, lstatSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Endpoint, Generation, VbdPlan } from '../../core/types.ts';
import type { Programs } from '../../host/programs.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { DataPath } from '../datapath.ts';
import { createByKernel, isKeptByOthers } from './create-by-kernel.ts';
import { openDmsetup, udevRuns } from './dmsetup.ts';
import type { Dmsetup, NewDevice } from './dmsetup.ts';
import { generationOf, isNameOf, nameOf, uuidOf } from './names.ts';
import { openBlockDevices } from './open-block-devices.ts';
import type { VerifyDevice } from './open-block-devices.ts';
import { isFenced, ownDevices, statsOf } from './own-devices.ts';
import type { OwnDevice } from './own-devices.ts';
import { errorTable, tableOf } from './table.ts';

export type DmOptions = {
  /** `''` while there is no catalog: then there is no device of it either. */
  readonly catalogId: () => Promise<string>;
  readonly programs: Programs;
  readonly verify: VerifyDevice;
  readonly syscalls: Syscalls | null;
  /** Who uses sectors of a device, in words: the kernel says only that it is busy. */
  readonly holdersOf: (path: string) => Promise<readonly string[]>;
  readonly log: (event: string, details: Readonly<Record<string, unknown>>) => void;
};

type Context = DmOptions & { readonly dmsetup: Dmsetup };

const mapperFolder = '/dev/mapper';
const sysBlock = '/sys/block';
const BLKFLSBUF = 0x1261;

/** null, or why this host has no device-mapper for us. */
export function dmLacks(programs: Programs): string | null {
  if (programs.find('dmsetup') === null) return 'dmsetup is not installed';
  try {
    closeSync(openSync(join(mapperFolder, 'control'), constants.O_RDWR));
    return null;
  } catch (error) {
    return `the kernel's device-mapper can't be opened: ${(error as Error).message}`;
  }
}

export function openDmDataPath(options: DmOptions): DataPath {
  const context: Context = { ...options, dmsetup: openDmsetup(options.programs) };
  const find = async (generation: Generation): Promise<OwnDevice | null> => shown(await ownOf(context), generation);
  return {
    driver: 'dm',
    open: async (plan) => makeOrTakeOver(context, plan, await find(plan.generation)),
    async close(generation) {
      const device = await find(generation);
      if (device === null) await removeHalfMade(context, generation);
      else await end(context, device);
      removeStaleNode(generation, await options.catalogId());
    },
    async isGone(generation) {
      const device = await find(generation);
      return device === null ? !(await halfMade(context)).has(generation) : isFenced(device);
    },
    async list() {
      const devices = await ownOf(context);
      // Fenced before, and its holder may have gone since.
      for (const device of devices.filter(isFenced)) await context.dmsetup.remove(device.name, { deferred: true }).catch(() => undefined);
      const living = devices.filter((device) => !isFenced(device)).map(({ generation }) => generation);
      return [...new Set([...living, ...(await halfMade(context)).keys()])];
    },
    async stats(generation) {
      const device = await find(generation);
      if (device === null || isFenced(device)) return null;
      return statsOf(device, await context.dmsetup.openCount(device.name));
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function ownOf({ catalogId }: Context): Promise<readonly OwnDevice[]> {
  const id = await catalogId();
  return id === '' ? [] : ownDevices(sysBlock, id);
}

const shown = (devices: readonly OwnDevice[], generation: Generation): OwnDevice | null => devices.find((device) => device.generation === generation) ?? null;

/** What a killed creation left: it has no table, so /sys does not show it and nobody can open it. Generations with their names. */
async function halfMade(context: Context): Promise<ReadonlyMap<Generation, string>> {
  const catalogId = await context.catalogId();
  if (catalogId === '') return new Map();
  const devices = new Set((await ownOf(context)).map(({ generation }) => generation));
  const left = new Map<Generation, string>();
  for (const { name, uuid } of await context.dmsetup.list()) {
    const generation = generationOf(uuid, catalogId);
    if (generation !== null && !devices.has(generation)) left.set(generation, name);
  }
  return left;
}

async function removeHalfMade(context: Context, generation: Generation): Promise<boolean> {
  const name = (await halfMade(context)).get(generation);
  if (name !== undefined) await context.dmsetup.remove(name);
  return name !== undefined;
}

async function makeOrTakeOver(context: Context, plan: VbdPlan, there: OwnDevice | null): Promise<Endpoint> {
  const catalogId = await context.catalogId();
  using devices = await openBlockDevices(plan, context.verify);
  const table = tableOf(plan, devices.numbers);
  if (there !== null && hasTable(there)) return takeOver(context, there, table);
  if (there !== null) await context.dmsetup.remove(there.name);
  const device = { name: nameOf(plan, catalogId), uuid: uuidOf(catalogId, plan.generation), readOnly: plan.mode === 'r', table };
  try {
    await create(context, plan.generation, device);
  } catch (error) {
    await context.dmsetup.remove(device.name).catch(() => undefined);
    throw await explained(context, plan, error);
  }
  return { kind: 'block', path: join(mapperFolder, device.name) };
}

/** Without: a creation was killed when its table was loaded and not live yet. Nobody can have used it. */
const hasTable = ({ sizeSectors }: OwnDevice): boolean => sizeSectors > 0;

/** Looking first whether a killed creation left the name taken would cost every attach a process. */
async function create(context: Context, generation: Generation, device: NewDevice): Promise<void> {
  const whenLive = async (): Promise<void> => refuseDiscard(context, await expectOwn(context, generation));
  try {
    await make(context, device, whenLive);
  } catch (error) {
    if (!(await removeHalfMade(context, generation))) throw error;
    await make(context, device, whenLive);
  }
  // Once more: a rule of udev's may have set it.
  await whenLive();
}

/** By dmsetup where this host lacks what is needed to ask the kernel itself, or has no udev: it then makes the node. */
async function make({ syscalls, dmsetup }: Context, device: NewDevice, whenLive: () => Promise<void>): Promise<void> {
  if (syscalls === null || !udevRuns()) {
    await dmsetup.create(device);
    return whenLive();
  }
  await createByKernel(syscalls, device, whenLive);
  // The kernel had nobody to tell, or udev's rules make no node.
  if (!existsSync(join(mapperFolder, device.name))) await dmsetup.makeNode(device.name);
}

async function expectOwn(context: Context, generation: Generation): Promise<OwnDevice> {
  const device = shown(await ownOf(context), generation);
  if (device === null) throw new XvdError('PROGRAM_FAILED', 'the kernel shows no device', { fix: 'See the kernel log.' });
  return device;
}

async function takeOver(context: Context, device: OwnDevice, table: string): Promise<Endpoint> {
  const { dmsetup } = context;
  const path = join(mapperFolder, device.name);
  if ((await dmsetup.table(device.name)) !== table)
    throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${path} has another table than the catalog says`, { fix: 'Detach it with --force.' });
  // An end of it was begun and not reached, or somebody suspended it: its guest would wait forever.
  await dmsetup.clear(device.name);
  if (device.suspended) await dmsetup.resume(device.name);
  refuseDiscard(context, device);
  if (!existsSync(path)) await dmsetup.makeNode(device.name);
  return { kind: 'block', path };
}

/** What a device does with a discard is its own affair; what is below us may keep the old bytes, or another's. */
function refuseDiscard({ log }: Context, { folder, generation }: OwnDevice): void {
  try {
    const most = join(folder, 'queue/discard_max_bytes');
    // Setting it stops the queue for as long as all processors take to notice: some ms of an attach in the lab.
    if (readFileSync(most, 'utf8').trim() !== '0') writeFileSync(most, '0');
  } catch (error) {
    log('dm.discard-not-refused', { generation, reason: (error as Error).message });
  }
}

/** The kernel says only “busy”: who it is, is looked up. */
async function explained({ holdersOf }: Context, plan: VbdPlan, error: unknown): Promise<unknown> {
  if (!(error instanceof XvdError) || error.code !== 'PROGRAM_FAILED' || !isKeptByOthers(error)) return error;
  const holders = await Promise.all(plan.devices.map(async ({ path }) => `${path}${heldBy(await holdersOf(path).catch(() => []))}`));
  return new XvdError('DEVICE_IN_USE', `the kernel keeps a device for somebody else: ${holders.join('; ')}`, {
    cause: error,
    fix: 'Unmount it or let its holder go.',
  });
}

const heldBy = (holders: readonly string[]): string => (holders.length === 0 ? '' : `, held by ${holders.join(', ')}`);

async function end(context: Context, device: OwnDevice): Promise<void> {
  const { dmsetup, log } = context;
  // Nobody has it open: then nothing of it is under way, and nothing is in its cache.
  const removed = await dmsetup.remove(device.name).then(
    () => true,
    () => false,
  );
  if (removed || !(await stillThere(context, device))) return;
  if (!isFenced(device)) await leadNowhere(context, device);
  dropCache(context, device);
  await dmsetup.remove(device.name, { deferred: true }).catch((error: unknown) => log('dm.not-removed', { name: device.name, reason: String(error) }));
}

async function leadNowhere(context: Context, device: OwnDevice): Promise<void> {
  const { dmsetup } = context;
  let reason = 'its error table did not become live';
  try {
    await dmsetup.load(device.name, errorTable(device.sizeSectors), device.readOnly);
    // Suspends, exchanges and resumes in one call. Cut off, it leaves the old table live, and the check below says so.
    await dmsetup.resume(device.name);
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  const now = await stillThere(context, device);
  if (now === null || isFenced(now)) return;
  const holders = await context.holdersOf(join(mapperFolder, device.name)).catch(() => []);
  throw new XvdError('FENCE_UNPROVED', `${join(mapperFolder, device.name)} still leads to its devices${heldBy(holders)}: ${reason}`);
}

const stillThere = async (context: Context, { generation }: OwnDevice): Promise<OwnDevice | null> => shown(await ownOf(context), generation);

/** Its pages can reach nothing any more: they are dropped so that its holder sees errors, and not what once was. */
function dropCache({ syscalls, log }: Context, device: OwnDevice): void {
  if (syscalls === null) return;
  try {
    const fd = openSync(join(mapperFolder, device.name), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      syscalls.ioctl(fd, BLKFLSBUF, 0);
      const left = syscalls.cachestat(fd, 0, device.sizeSectors * SECTOR_BYTES);
      if (typeof left !== 'number' && left.dirtyPages > 0) log('dm.dirty-pages', { name: device.name, pages: left.dirtyPages });
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    log('dm.cache-not-dropped', { name: device.name, reason: (error as Error).message });
  }
}

/** Without udev a node can outlive its device when dmsetup was killed; its number may be another's by now. */
function removeStaleNode(generation: Generation, catalogId: string): void {
  if (catalogId === '') return;
  for (const name of readdirSync(mapperFolder).filter((node) => isNameOf(node, generation, catalogId))) {
    const still = ownDevices(sysBlock, catalogId).some((device) => device.name === name);
    if (!still && lstatSync(join(mapperFolder, name), { throwIfNoEntry: false }) !== undefined) rmSync(join(mapperFolder, name), { force: true });
  }
}
