// What is attached as the catalog has it, held against what the hypervisors and data paths tell of themselves, both ways. Only the
// daemon can ask them. With `repair` it does what the next start of a daemon would do.

import type { Generation, Vbd } from '../core/types.ts';
import { endVbd, messageOf } from './end-vbd.ts';
import { plugBack } from './reconcile.ts';
import type { ProblemInfo } from './shapes.ts';
import type { System } from './system.ts';
import { exportNameOf } from './vbd-plan.ts';

/** A hypervisor or data path, as one that has VBDs. */
type Side = {
  readonly name: string;
  readonly code: 'VBD_NOT_PLUGGED' | 'VBD_NOT_SERVED';
  readonly lacks: string;
  concerns(vbd: Vbd): boolean;
  list(): Promise<readonly Generation[]>;
  end(generation: Generation): Promise<void>;
  mend(vbd: Vbd): Promise<void>;
};

/** VBD_NOT_PLUGGED, VBD_NOT_SERVED: the catalog has it and its domain or its data path has not. VBD_UNKNOWN: the other way round. */
export async function checkAttachments(system: System, options: { readonly repair?: boolean } = {}): Promise<{ problems: ProblemInfo[] }> {
  const problems: ProblemInfo[] = [];
  for (const side of sidesOf(system)) {
    try {
      problems.push(...(await checkSide(system, side, options.repair === true)));
    } catch (error) {
      problems.push({ code: 'HYPERVISOR_FAILED', message: `${side.name} does not tell what it has: ${messageOf(error)}`, repaired: false });
    }
  }
  return { problems };
}

function sidesOf(system: System): readonly Side[] {
  const hypervisors = system.hypervisors.map((hypervisor): Side => {
    const end = (generation: Generation): Promise<void> => hypervisor.unplug({ generation, domain: '', target: '', force: true });
    // This host takes it again; a guest that lost a disk must not see it come back as if nothing had been.
    const mend = async (vbd: Vbd): Promise<void> =>
      hypervisor.name === 'host' ? plugBack(system, vbd) : void (await endVbd(system, vbd, { force: true, cause: 'check' }));
    const concerns = (vbd: Vbd): boolean => vbd.hypervisor === hypervisor.name;
    return { name: hypervisor.name, code: 'VBD_NOT_PLUGGED', lacks: 'its domain does not have it', concerns, list: () => hypervisor.plugged(), end, mend };
  });
  const dataPaths = system.dataPaths.map((dataPath): Side => {
    const concerns = (vbd: Vbd): boolean => vbd.driver === dataPath.driver;
    const end = (generation: Generation): Promise<void> => dataPath.close(generation);
    const mend = (vbd: Vbd): Promise<void> => plugBack(system, vbd);
    return { name: dataPath.driver, code: 'VBD_NOT_SERVED', lacks: 'nothing serves it', concerns, list: () => dataPath.list(), end, mend };
  });
  return [...hypervisors, ...dataPaths];
}

async function checkSide(system: System, side: Side, repair: boolean): Promise<ProblemInfo[]> {
  const { code, lacks } = side;
  const problems: ProblemInfo[] = [];
  const has = new Set(await side.list());
  // The rows are read after the side was asked, so whatever it told of has one.
  const rows = await system.catalog.read((reader) => reader.vbds());
  for (const vbd of rows.filter((row) => row.state === 'attached' && side.concerns(row) && !has.has(row.generation))) {
    const outcome = await inTurn(system, side, vbd, repair);
    if (outcome === 'fine') continue;
    const why = typeof outcome === 'string' ? '' : `; and it can't be mended: ${messageOf(outcome.error)}`;
    problems.push({ code, message: `${exportNameOf(vbd)} is attached, and ${lacks}${why}`, repaired: outcome === 'mended' });
  }
  const known = new Set(rows.map(({ generation }) => generation));
  for (const generation of has) {
    if (known.has(generation)) continue;
    if (repair) await side.end(generation);
    problems.push({ code: 'VBD_UNKNOWN', message: `${side.name} has VBD @${generation}, which the catalog does not have`, repaired: repair });
  }
  return problems;
}

type Outcome = 'fine' | 'wrong' | 'mended' | { readonly error: unknown };

/** Looked at again while nobody attaches or detaches in its domain. */
function inTurn(system: System, side: Side, { domain, generation }: Vbd, repair: boolean): Promise<Outcome> {
  return system.queue(`domain:${domain}`, async () => {
    const vbd = await system.catalog.read((reader) => reader.vbd(generation));
    if (vbd?.state !== 'attached' || (await side.list()).includes(generation)) return 'fine';
    if (!repair) return 'wrong';
    return side.mend(vbd).then(
      () => 'mended' as const,
      (error: unknown) => ({ error }),
    );
  });
}
