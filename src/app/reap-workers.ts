// Wipers and image copies that ended without saying so: once each is proved gone, and what it wrote has landed, its row goes.

import type { ExtentWorker } from '../catalog/catalog.ts';
import { change, look } from './change.ts';
import type { Change } from './change.ts';
import { settleRuns } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

/** Carries the news out of a transaction, which is undone by being thrown through. */
class WorkersFound extends Error {}

/** A change after the reaping. Mostly there is no worker at all, which the transaction itself finds: one look at the catalog, not two. */
export async function changeReaped<T>(system: CatalogSystem, cause: string, body: (change: Change) => Promise<T>): Promise<T> {
  try {
    return await change(system, cause, async (tx) => {
      if ((await tx.writer.workers()).length > 0) throw new WorkersFound();
      return body(tx);
    });
  } catch (error) {
    if (!(error instanceof WorkersFound)) throw error;
  }
  await reapWorkers(system);
  return change(system, cause, body);
}

/** Gives the workers that are still there, or not yet proved gone. */
export async function reapWorkers(system: CatalogSystem): Promise<readonly ExtentWorker[]> {
  const workers = await system.catalog.read((reader) => reader.workers());
  if (workers.length === 0) return [];
  const bootId = await system.host.bootId();
  const left: ExtentWorker[] = [];
  for (const worker of workers) {
    const otherBoot = worker.bootId !== bootId;
    if (!otherBoot && !(await system.host.aliveIsGone(worker.pipe))) {
      left.push(worker);
      continue;
    }
    if (!otherBoot && worker.kind !== 'export') await settleDisk(system, worker.diskId);
    await change(system, 'reap', async (tx) => {
      const still = (await tx.writer.workers(worker.diskId)).some((row) => row.id === worker.id);
      if (!still) return;
      await tx.writer.removeWorker(worker.id);
      await tx.event(`${worker.kind}.ended`, `vd:${worker.diskId}`, { pid: worker.pid, interrupted: true });
    });
    await system.host.forgetAlive(worker.pipe);
  }
  return left;
}

async function settleDisk(system: CatalogSystem, diskId: number): Promise<void> {
  const { runs, devices } = await look(system, async (reader) => ({ runs: await reader.runs(diskId), devices: await reader.devices() }));
  await settleRuns(system, runs, devices);
}

const PIPES = ['wipe-', 'copy-'];

/** Pipes of processes that were killed before their row was written, or after it was removed. */
export async function forgetLeftPipes(system: CatalogSystem): Promise<void> {
  for (const pipe of (await Promise.all(PIPES.map((prefix) => system.host.alivePipes(prefix)))).flat()) {
    if (!(await system.host.aliveIsGone(pipe))) continue;
    // Whoever is gone writes no row any more.
    const workers = await system.catalog.read((reader) => reader.workers());
    if (!workers.some((worker) => worker.pipe === pipe)) await system.host.forgetAlive(pipe);
  }
}
