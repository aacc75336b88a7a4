// Guests of Xen, through xl and xenstore: those that xvd starts, and those of others. Nothing is remembered of what is attached: the
// node in xenstore tells which VBD it is, and the guest is known by its UUID, since its number changes when it reboots.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import type { DomainDescription, Footprint, Generation, SectorUser } from '../../core/types.ts';
import type { Programs } from '../../host/programs.ts';
import type { DomainFacts, Hypervisor, Plug, Plugged, Unplug } from '../hypervisor.ts';
import { AWAY_MS, lookAgain } from './follow-guests.ts';
import type { Followed } from './follow-guests.ts';
import { diskSpecification, guestConfig } from './guest-config.ts';
import { parseList } from './guests.ts';
import type { ListedDomain } from './guests.ts';
import { letsGo, read, removeDevice, saidBy } from './let-go.ts';
import { savedGuests } from './saved-guests.ts';
import type { SavedGuests } from './saved-guests.ts';
import { failureOf } from './sentences.ts';
import { backendsOf, hasNoFolder, parseStore } from './xenstore.ts';
import type { Backend } from './xenstore.ts';

export type XenOptions = {
  readonly runFolder: string;
  readonly programs: Programs;
  /** Of a node that a data path of ours made: its VBD. */
  readonly generationOf: (node: string) => Promise<Generation | null>;
  /** What a node or file stands on; null when it can't be told. */
  readonly footprintOf: (path: string) => Promise<Footprint | null>;
  readonly log: (message: string) => void;
  readonly powerOffMs?: number;
  readonly letGoMs?: number;
};

const POWER_OFF_MS = 90_000;
const LET_GO_MS = 10_000;
const CREATE_MS = 120_000;
const LOOK_AWAY_MS = 1_000;
const LOOK_ENDED_MS = 200;
/** XenbusState from which on a device is on its way out. */
const CLOSING = 5;

export const openXen = (options: XenOptions): Hypervisor => new Xen(options);

class Xen implements Hypervisor {
  readonly name = 'xen';
  readonly forceLosesRequests = true;
  readonly #options: XenOptions;
  readonly #saved: SavedGuests;
  readonly #stopping = new Set<string>();

  constructor(options: XenOptions) {
    this.#options = options;
    this.#saved = savedGuests(options.runFolder);
  }

  async available(): Promise<{ readonly available: boolean; readonly reason: string }> {
    if (!isDomain0()) return { available: false, reason: 'this host is not domain 0 of Xen' };
    const path = this.#options.programs.find('xl');
    return path === null ? { available: false, reason: 'xl is not installed' } : { available: true, reason: path };
  }

  async domains(): Promise<readonly DomainFacts[]> {
    if (!(await this.available()).available) return [];
    const listed = await this.#list();
    const saved = this.#saved.all().filter(({ uuid }) => !listed.some((one) => one.uuid === uuid));
    return [
      ...listed.map(({ name, id, state }): DomainFacts => ({ name, id, hypervisor: 'xen', state: this.#stopping.has(name) ? 'stopping' : state })),
      ...saved.map(({ name }): DomainFacts => ({ name, id: 'saved', hypervisor: 'xen', state: 'suspended' })),
    ];
  }

  async find(domain: string): Promise<DomainFacts | null> {
    return (await this.domains()).find(({ name, id }) => name === domain || id === domain) ?? null;
  }

  async plug(plug: Plug): Promise<Plugged> {
    const { id } = await this.#living(plug.domain);
    const { generation, target, mode, vdev } = plug;
    const there = (await this.#backends()).find((backend) => backend.domain === id && backend.vdev === vdev);
    if (there !== undefined) {
      if ((await this.#generationOf(there)) === generation) return { devicePath: null };
      // Xen is making it, and has asked us for its node.
      if (isOurHook(there) && there.node === null) return { devicePath: null };
      throw new XvdError('TARGET_TAKEN', `${target} of domain ${plug.domain} is ${there.params || 'a device that was half made'}`);
    }
    try {
      await this.#options.programs.run('xl', ['block-attach', id, diskSpecification({ target, mode, node: nodeOf(plug) })]);
    } catch (error) {
      throw await this.#attachFailed(id, plug, error);
    }
    return { devicePath: null };
  }

  /** The generation alone says which VBD: one that no guest has, has been let go of. */
  async unplug({ generation, target, force }: Unplug): Promise<void> {
    const { programs, letGoMs = LET_GO_MS } = this.#options;
    for (const guest of this.#saved.all()) {
      if (!guest.generations.includes(generation)) continue;
      if (!force) throw new XvdError('VBD_BUSY', `domain ${guest.name} is saved and comes back with ${target}`, { fix: 'Restore it first, or use --force.' });
      this.#saved.put({ ...guest, generations: guest.generations.filter((one) => one !== generation) });
    }
    for (const backend of await this.#backends()) {
      if ((await this.#generationOf(backend)) !== generation) continue;
      // Xen is taking it away, and tells us.
      if (isOurHook(backend) && backend.state >= CLOSING) continue;
      await removeDevice(programs, backend, !(await letsGo(programs, backend, { target, force, letGoMs })));
    }
  }

  async plugged(): Promise<readonly Generation[]> {
    const generations = await Promise.all((await this.#backends()).map((backend) => this.#generationOf(backend)));
    return [...new Set([...generations.filter((one) => one !== null), ...this.#saved.all().flatMap((guest) => guest.generations)])];
  }

  async foreignUsers(): Promise<readonly SectorUser[]> {
    const foreign: Backend[] = [];
    for (const backend of await this.#backends()) if ((await this.#generationOf(backend)) === null) foreign.push(backend);
    // Mostly there is none, and every attach asks: xl is started only for their names.
    if (foreign.length === 0) return [];
    const names = new Map((await this.domains()).map(({ id, name }) => [id, name]));
    const users: SectorUser[] = [];
    for (const backend of foreign) {
      const path = backend.node ?? backend.params.replace(/^(?:aio|phy|file):/, '');
      const footprint = path.startsWith('/') ? await this.#options.footprintOf(path) : null;
      if (footprint === null) continue; // what it stands on is shown by whoever serves it
      users.push({ kind: 'vbd', name: `${names.get(backend.domain) ?? backend.domain}/${backend.vdev} (Xen)`, mode: backend.mode, footprint });
    }
    return users;
  }

  async start(description: DomainDescription, plugs: readonly Plug[]): Promise<DomainFacts> {
    const { programs, runFolder } = this.#options;
    const { name } = description;
    const config = join(runFolder, 'xen', `${name}.cfg`);
    mkdirSync(join(runFolder, 'xen'), { recursive: true, mode: 0o700 });
    const text = guestConfig(
      description,
      plugs.map((plug) => ({ target: plug.target, mode: plug.mode, node: nodeOf(plug) })),
    );
    writeFileSync(config, text, { mode: 0o600 });
    try {
      await programs.run('xl', ['create', config], { timeoutMs: CREATE_MS });
    } catch (error) {
      await this.#destroy(name);
      throw failureOf(`domain ${name} does not start`, saidBy(error));
    } finally {
      rmSync(config, { force: true });
    }
    return this.#living(name);
  }

  async stop(domain: string, { force }: { readonly force: boolean }): Promise<void> {
    const { programs, powerOffMs = POWER_OFF_MS } = this.#options;
    const facts = await this.find(domain);
    if (facts === null) throw new XvdError('DOMAIN_NOT_FOUND', `Xen here has no domain '${domain}'`);
    const { name } = facts;
    if (facts.id === 'saved') return this.#forget(name);
    this.#stopping.add(name);
    try {
      if (!force) {
        await programs.run('xl', ['shutdown', '-w', facts.id], { timeoutMs: powerOffMs }).catch((error: unknown) => {
          throw new XvdError('HYPERVISOR_FAILED', `domain ${name} does not power itself off: ${saidBy(error)}`, {
            fix: 'Shut it down from inside, or use --force to end it at once.',
          });
        });
        // The xl that made it takes it away.
        await this.#isAway(name);
      }
      await this.#destroy(name);
    } finally {
      this.#stopping.delete(name);
    }
  }

  async console(domain: string): Promise<string> {
    const { id, name } = await this.#living(domain);
    const tty = await read(this.#options.programs, `/local/domain/${id}/console/tty`);
    if (tty === null || tty === '') throw new XvdError('HYPERVISOR_FAILED', `domain ${name} has no console: is xenconsoled running?`);
    return tty;
  }

  watchEnds(ended: (domain: string) => void, signal: AbortSignal): void {
    void this.#watch(ended, signal).catch((error: unknown) => {
      if (!signal.aborted) this.#options.log(`guests of Xen are not watched: ${(error as Error).message}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Guests go on; the watch ends with its signal.
  }

  async #watch(ended: (domain: string) => void, signal: AbortSignal): Promise<void> {
    if (!(await this.available()).available) return;
    let followed: ReadonlyMap<string, Followed> = new Map();
    let stirred = Promise.withResolvers<void>();
    const stir = (): void => stirred.resolve();
    signal.addEventListener('abort', stir, { once: true });
    // Fires when a domain shuts down, and again when it is gone; and once at the start.
    const watching = this.#options.programs.run('xenstore-watch', ['@releaseDomain', '@introduceDomain'], { timeoutMs: 2 ** 31 - 1, signal, onOutput: stir });
    watching.catch(stir);
    while (!signal.aborted) {
      await stirred.promise;
      stirred = Promise.withResolvers<void>();
      const listed = await this.#list();
      await this.#noteSuspended(listed);
      const look = lookAgain(followed, listed, performance.now());
      followed = look.followed;
      for (const { name } of look.ended) ended(name);
      if (look.undecided) void pause(LOOK_AWAY_MS, undefined, { signal }).then(stir, stir);
    }
  }

  /** While it is still there, with its devices: once it is in a file, Xen knows nothing of it. */
  async #noteSuspended(listed: readonly ListedDomain[]): Promise<void> {
    const known = new Set(this.#saved.all().map(({ uuid }) => uuid));
    for (const { uuid, name, id, shutdown } of listed) {
      if (shutdown !== '2') {
        if (known.has(uuid)) this.#saved.remove(uuid);
      } else if (!known.has(uuid)) {
        const own = (await this.#backends()).filter((backend) => backend.domain === id);
        const generations = (await Promise.all(own.map((backend) => this.#generationOf(backend)))).filter((one) => one !== null);
        this.#saved.put({ uuid, name, generations });
        this.#options.log(`domain ${name} is suspended: its VBDs are kept until it runs or is stopped`);
      }
    }
  }

  async #list(): Promise<readonly ListedDomain[]> {
    return parseList((await this.#options.programs.run('xl', ['list', '-v'])).stdout);
  }

  async #backends(): Promise<readonly Backend[]> {
    if (!(await this.available()).available) return [];
    const { status, stdout, stderr } = await this.#options.programs.run('xenstore-ls', ['-f', '/local/domain/0/backend'], { okStatus: [0, 1] });
    if (status !== 0 && !hasNoFolder(stderr))
      throw new XvdError('HYPERVISOR_FAILED', `xenstore can't be read: ${stderr.trim()}`, { fix: 'See whether xenstored runs.' });
    return backendsOf(parseStore(stdout));
  }

  async #generationOf({ node, params }: Backend): Promise<Generation | null> {
    for (const path of [params, node]) {
      const generation = path?.startsWith('/') === true ? await this.#options.generationOf(path) : null;
      if (generation !== null) return generation;
    }
    return null;
  }

  async #living(domain: string): Promise<DomainFacts> {
    const found = await this.find(domain);
    if (found === null) throw new XvdError('DOMAIN_NOT_FOUND', `Xen here has no domain '${domain}'`);
    if (found.id === 'saved') throw new XvdError('HYPERVISOR_FAILED', `domain ${found.name} is saved`, { fix: 'Restore it first: xl restore FILE.' });
    return found;
  }

  /** With what the hotplug script left in xenstore; a half-made device is in the way of every later try, so it goes. */
  async #attachFailed(id: string, { domain, target, vdev }: Plug, error: unknown): Promise<XvdError> {
    const half = (await this.#backends()).find((backend) => backend.domain === id && backend.vdev === vdev);
    const said = half?.hotplugError ?? saidBy(error);
    if (half !== undefined) await removeDevice(this.#options.programs, half, true).catch((reason: unknown) => this.#options.log(String(reason)));
    return failureOf(`${target} can't be attached to domain ${domain}`, said);
  }

  async #destroy(name: string): Promise<void> {
    const listed = (await this.#list()).find((one) => one.name === name);
    if (listed === undefined) return;
    try {
      await this.#options.programs.run('xl', ['destroy', listed.id]);
    } catch (error) {
      // The xl that made the guest may be ending it at the same time: then each finds half of its work done.
      if (!(await this.#isAway(name))) throw failureOf(`domain ${name} can't be ended`, saidBy(error));
    }
  }

  /** Looks for a while. */
  async #isAway(name: string): Promise<boolean> {
    for (const end = performance.now() + AWAY_MS; performance.now() < end; await pause(LOOK_ENDED_MS)) {
      if (!(await this.#list()).some((one) => one.name === name)) return true;
    }
    return false;
  }

  #forget(name: string): void {
    for (const guest of this.#saved.all()) if (guest.name === name) this.#saved.remove(guest.uuid);
  }
}

/** Guests of Xen have nodes of the kernel; what is served over a socket has none. */
function nodeOf({ endpoint, target }: Plug): string {
  if (endpoint.kind === 'block') return endpoint.path;
  throw new XvdError('NOT_SUPPORTED', `${target}: guests of Xen are served by device-mapper, which this host lacks`, {
    fix: 'Load dm-mod, and install dmsetup.',
  });
}

const isOurHook = ({ script }: Backend): boolean => script.endsWith('/block-xvd');

/** What counts: it runs on Xen, and may rule it. */
function isDomain0(): boolean {
  try {
    return readFileSync('/proc/xen/capabilities', 'utf8').includes('control_d');
  } catch {
    return existsSync('/dev/xen/privcmd') && existsSync('/proc/xen/privcmd');
  }
}
