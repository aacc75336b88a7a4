// check: the catalog against itself, against the devices, and against what is attached. Repairs what needs no guess.

import { XvdError } from '../base/error.ts';
import { checkCatalog } from '../core/check-rules.ts';
import { diskState } from '../core/lease.ts';
import type { PoolDevice } from '../core/types.ts';
import { change, look } from './change.ts';
import { messageOf } from './end-vbd.ts';
import { unameOf } from './find-disk.ts';
import { sourceName } from './info.ts';
import { findMovedDevices } from './moved-devices.ts';
import { prepareDisk } from './prepare-disk.ts';
import { judgeLabels } from './read-labels.ts';
import { forgetLeftPipes, reapWorkers } from './reap-workers.ts';
import { retryBad } from './retry-bad.ts';
import { planDevice } from './settle-runs.ts';
import type { ProblemInfo } from './shapes.ts';
import type { CatalogSystem } from './system.ts';
import { exportNameOf } from './vbd-plan.ts';

export type CheckOptions = { readonly repair?: boolean; readonly acceptClock?: boolean };

/** Every problem found; those with `repaired: true` are gone. With `repair` each mend is an event. */
export async function checkPool(system: CatalogSystem, options: CheckOptions = {}): Promise<{ problems: ProblemInfo[] }> {
  if (options.acceptClock === true) await acceptClock(system);
  const repair = options.repair === true;
  return {
    problems: [
      ...(await system.catalog.selfCheck()).map((message) => problem('CATALOG_DAMAGED', message)),
      ...(await checkRows(system)),
      ...(await checkClock(system)),
      ...(repair ? await checkMoved(system) : []),
      ...(await checkDevices(system)),
      ...(await judgeLabels(system)).problems.map((error) => problem(error.code, error.message)),
      ...(await checkWorkers(system)),
      ...(await checkBad(system)),
      ...(await checkPreparing(system, repair)),
      ...(await checkSuspect(system, repair)),
      ...(await checkVbds(system)),
      ...(await checkIntents(system)),
    ],
  };
}

const problem = (code: string, message: string, repaired = false): ProblemInfo => ({ code, message, repaired });

/** The operator says that the clock is right: what was suspect counts from here on. */
export async function acceptClock(system: CatalogSystem): Promise<void> {
  await system.catalog.write(async (writer) => {
    const reading = system.clock.read();
    await writer.storeClock(reading, reading.wallMs);
    await writer.addEvent({ time: reading.wallMs, type: 'clock.accepted', subject: 'clock', cause: 'check', data: {} });
  });
}

function checkRows(system: CatalogSystem): Promise<ProblemInfo[]> {
  return look(system, async (reader, { now }) => {
    const devices = await reader.devices();
    const unowned = (await Promise.all(devices.map((device) => reader.unownedRuns(device.id)))).flat();
    const rows = {
      devices,
      unowned,
      owned: await reader.ownedRuns(),
      bad: await reader.badRuns(),
      disks: await reader.disks({ which: 'all', now }),
      vbds: await reader.vbds(),
      now,
    };
    return checkCatalog(rows).map(({ code, message }) => problem(code, message));
  });
}

function checkClock(system: CatalogSystem): Promise<ProblemInfo[]> {
  return look(system, async (_, { suspect }) =>
    suspect === null
      ? []
      : [
          problem(
            'CLOCK_SUSPECT',
            `the clock is not believed: ${suspect}; nothing more is reclaimed or revoked until the kernel synchronises it, or \`xvd check --accept-clock\``,
          ),
        ],
  );
}

/** One that is known by more than its name needs no guess. */
async function checkMoved(system: CatalogSystem): Promise<ProblemInfo[]> {
  const moved = await findMovedDevices(system, 'check');
  return moved.map(({ was, is }) => problem('DEVICE_MOVED', `what was ${was} is ${is} now`, true));
}

async function checkDevices(system: CatalogSystem): Promise<ProblemInfo[]> {
  const devices = await system.catalog.read((reader) => reader.devices());
  const found = await Promise.all(devices.map((device) => checkDevice(system, device)));
  return found.flat();
}

async function checkDevice(system: CatalogSystem, device: PoolDevice): Promise<ProblemInfo[]> {
  try {
    await system.host.verify(planDevice(device));
    return [];
  } catch (error) {
    return [problem(error instanceof XvdError ? error.code : 'DEVICE_FAILED', messageOf(error))];
  }
}

async function checkWorkers(system: CatalogSystem): Promise<ProblemInfo[]> {
  const before = (await system.catalog.read((reader) => reader.workers())).length;
  try {
    const left = await reapWorkers(system);
    await forgetLeftPipes(system);
    const ended = before - left.length;
    return ended === 0
      ? []
      : [problem('WORKER_ENDED', `${ended} interrupted ${ended === 1 ? 'copy or wipe was' : 'copies or wipes were'} proved gone and cleared`, true)];
  } catch (error) {
    return [problem('FENCE_UNPROVED', messageOf(error))];
  }
}

/** What still fails is no problem of the catalog: it is counted as bad and nobody gets it. */
async function checkBad(system: CatalogSystem): Promise<ProblemInfo[]> {
  const good = (await retryBad(system)).filter(({ works }) => works);
  return good.map(({ device, firstExtent, extents }) =>
    problem('EXTENTS_BAD', `extents ${firstExtent} to ${firstExtent + extents - 1} of ${device} were bad and can be read again`, true),
  );
}

/** A disk that a killed create left: completed with `repair`, else told. One that is being wiped right now is no problem. */
async function checkPreparing(system: CatalogSystem, repair: boolean): Promise<ProblemInfo[]> {
  const waiting = await look(system, async (reader, { now }) => {
    const busy = new Set((await reader.workers()).map((worker) => worker.diskId));
    return (await reader.disks({ which: 'living', now })).filter((disk) => diskState(disk, now) === 'preparing' && !busy.has(disk.id));
  });
  const problems: ProblemInfo[] = [];
  for (const disk of waiting) {
    const message = `${unameOf(disk)} was left while it was being prepared`;
    if (repair) {
      await prepareDisk(system, disk.id);
      await change(system, 'check', (tx) => tx.event('disk.repaired', unameOf(disk), { was: 'preparing' }));
    }
    problems.push(problem('DISK_PREPARING', message, repair));
  }
  return problems;
}

/** What came back from an old copy, or could not be written back: shown until somebody says that it is right. */
async function checkSuspect(system: CatalogSystem, repair: boolean): Promise<ProblemInfo[]> {
  const suspects = await look(system, async (reader, { now }) => (await reader.disks({ which: 'living', now })).filter((disk) => disk.suspect));
  if (repair && suspects.length > 0) {
    await change(system, 'check', async (tx) => {
      for (const { id } of suspects) {
        const disk = await tx.writer.disk(id);
        if (disk?.suspect !== true) continue;
        await tx.writer.updateDisk({ ...disk, suspect: false });
        await tx.event('disk.repaired', unameOf(disk), { was: 'suspect' });
      }
    });
  }
  return suspects.map((disk) =>
    problem('DISK_SUSPECT', `${unameOf(disk)} is suspect: look at what is on it; \`xvd check --repair\` takes the mark away`, repair),
  );
}

/** What was being taken away and is not proved gone keeps its extents reserved. */
async function checkVbds(system: CatalogSystem): Promise<ProblemInfo[]> {
  const bootId = await system.host.bootId();
  const rows = await system.catalog.read((reader) => reader.vbds());
  return rows
    .filter((vbd) => vbd.state === 'revoked' && vbd.bootId === bootId)
    .map((vbd) =>
      problem('FENCE_UNPROVED', `${exportNameOf(vbd)} is revoked, but not proved gone: its extents stay reserved; the daemon tries again at its next start`),
    );
}

/** What should have come back after a reboot, and why it did not. */
async function checkIntents(system: CatalogSystem): Promise<ProblemInfo[]> {
  const intents = await system.catalog.read((reader) => reader.intents());
  return intents.flatMap((intent) => {
    if (intent.problem === null) return [];
    if (intent.kind === 'attach') {
      const { domain, target, source } = intent.value.vbd;
      const fix = `attach it, or \`xvd detach ${target} ${domain}\` to give it up`;
      return [problem('VBD_NOT_ATTACHED', `${sourceName(source)} was to be attached to domain ${domain} as ${target} again: ${intent.problem}; ${fix}`)];
    }
    const fix = 'start it, or turn its autostart off';
    return [problem('DOMAIN_NOT_STARTED', `domain ${intent.key} was to be started: ${intent.problem}; ${fix}`)];
  });
}
