// Who on this host uses a node itself (and not only what lies below it): mounts, swap, holders, loop devices, processes.

import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import { deviceNumber } from '../../core/device-number.ts';
import type { SectorUser } from '../../core/types.ts';

/** udev and its like look at a new device for a moment; they are waited for. */
const ROUNDS = 10;
const ROUND_MS = 50;

/** VBD_BUSY saying who uses it and where. `servedBy`: the process that makes it a device. */
export async function refuseBusy(users: () => Promise<readonly SectorUser[]>, device: string, target: string, servedBy?: number): Promise<void> {
  const space = await spaceOf(device);
  if (space === null) return;
  for (let round = 1; ; round += 1) {
    const others = (await users()).filter((user) => servedBy === undefined || !user.name.endsWith(`(pid ${servedBy})`));
    const busy = others.filter((user) => user.footprint.own.some((range) => range.space === space));
    if (busy.length === 0) return;
    const lasting = busy.some((user) => user.kind !== 'process');
    if (lasting || round === ROUNDS) {
      const names = [...new Set(busy.map((user) => `${user.kind} ${user.name}`))].join(', ');
      const mount = busy.find((user) => user.kind === 'mount');
      throw new XvdError('VBD_BUSY', `${target} (${device}) is in use on this host: ${names}`, {
        fix: mount === undefined ? 'Let its users close it, or use --force to pull it away.' : `Unmount it first: umount ${mount.name}`,
      });
    }
    await delay(ROUND_MS);
  }
}

async function spaceOf(device: string): Promise<string | null> {
  const facts = await stat(device).catch(() => null);
  if (facts === null || !facts.isBlockDevice()) return null;
  return `drive:${deviceNumber(facts.rdev)}`;
}
