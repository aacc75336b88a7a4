// Guests of QEMU that xvd did not start, each by a spare QMP socket of its own in one folder: `web03.sock` is domain web03. Their
// disks are plugged and unplugged like those of any guest; the guests themselves are their owner's to start and to end.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import type { Footprint, Generation, SectorUser } from '../../core/types.ts';
import type { DomainFacts, Plug, Unplug } from '../hypervisor.ts';
import { anyPlace, knows, openFiles, pluggedIn, plugInto, sourcesOf, unplugFrom } from './disks.ts';
import { isObject } from './qmp-codec.ts';
import { connectQmp, limited } from './qmp-connection.ts';
import type { QmpConnection } from './qmp-connection.ts';

export type ForeignOptions = {
  /** null: there are none. */
  readonly folder: string | null;
  /** XVD_RUN: the VBDs of another xvd are not ours to take out. */
  readonly runFolder: string;
  readonly footprintOf: (path: string) => Promise<Footprint>;
  readonly letGoMs: number;
  readonly log: (message: string) => void;
};

type Guest = { readonly name: string; readonly socket: string };

const stateMs = 1_500;
/** Between two looks for a guest whose connection ended. */
const lookAgainMs = 500;
const NAME = /^[A-Za-z_][A-Za-z0-9._-]{0,63}$/;

export class ForeignGuests implements AsyncDisposable {
  readonly #options: ForeignOptions;
  readonly #connections = new Map<string, Promise<QmpConnection>>();
  readonly #followed = new Set<string>();
  readonly #watchers = new Set<(domain: string) => void>();
  #closed = false;

  constructor(options: ForeignOptions) {
    this.#options = options;
  }

  /** Those that listen; a socket that nobody listens on is what an ended guest left. */
  async domains(): Promise<readonly DomainFacts[]> {
    const facts = await Promise.all((await this.#guests()).map((guest) => this.#factsOf(guest)));
    return facts.filter((fact) => fact !== null);
  }

  /** null: the name is none of theirs. */
  async find(name: string): Promise<Guest | null> {
    return (await this.#guests()).find((guest) => guest.name === name) ?? null;
  }

  async plug(guest: Guest, plug: Plug): Promise<void> {
    try {
      await plugInto(await this.#qmp(guest), plug, anyPlace);
    } catch (error) {
      if (!(error instanceof XvdError) || !/hotplug|No '.*' bus|no slot/i.test(error.message)) throw error;
      const fix = 'Give its machine a free pcie-root-port (q35), or a free PCI slot.';
      throw new XvdError('HYPERVISOR_FAILED', `domain ${guest.name} has no place for one more disk: ${error.message}`, { cause: error, fix });
    }
  }

  /** Gives whether one of them had it. */
  async unplug({ generation, domain, force }: Unplug): Promise<boolean> {
    for (const guest of await this.#guests()) {
      try {
        const qmp = await this.#qmp(guest);
        if (!(await knows(qmp, generation)) || !(await this.#isOurs(qmp, generation))) continue;
        await unplugFrom(qmp, generation, { force, letGoMs: this.#options.letGoMs });
        return true;
      } catch (error) {
        // A guest that does not answer is no reason to refuse another; one that is gone has let go.
        if ((guest.name === domain || domain === '') && (await isListening(guest.socket))) throw error;
      }
    }
    return false;
  }

  async plugged(): Promise<readonly Generation[]> {
    const each = (await this.#guests()).map(async (guest) => {
      const qmp = await this.#qmp(guest);
      const sources = await sourcesOf(qmp);
      return (await pluggedIn(qmp)).filter((generation) => this.#isSourceOurs(sources.get(generation)));
    });
    return (await Promise.all(each)).flat();
  }

  /** What they have open besides VBDs of ours. A guest that does not answer shows among the processes of the host all the same. */
  async users(): Promise<readonly SectorUser[]> {
    const users: SectorUser[] = [];
    for (const guest of await this.#guests()) {
      const files = await limited(
        this.#qmp(guest).then((qmp) => openFiles(qmp)),
        stateMs,
        () => new Error('late'),
      ).catch(() => []);
      for (const { path, mode, node } of files) {
        if (/^vbd\d+$/.test(node) && this.#isSourceOurs(path)) continue;
        // A path of another mount namespace, or a descriptor that was handed over: /proc/PID/fd tells of it.
        const footprint = await this.#options.footprintOf(path).catch(() => null);
        if (footprint !== null) users.push({ kind: 'vbd', name: `${path} of domain ${guest.name} (not of xvd)`, mode, footprint });
      }
    }
    return users;
  }

  /** Tells of ends from now on, also of guests that come later. */
  watch(ended: (domain: string) => void, signal: AbortSignal): void {
    this.#watchers.add(ended);
    signal.addEventListener('abort', () => this.#watchers.delete(ended));
    void this.#guests().catch((error: unknown) => this.#options.log(`guests of others can't be looked through: ${String(error)}`));
  }

  async powerOff(guest: Guest, force: boolean): Promise<void> {
    const qmp = await this.#qmp(guest);
    await qmp.execute(force ? 'quit' : 'system_powerdown').catch(() => undefined);
    await limited(qmp.closed, 90_000, () => new XvdError('HYPERVISOR_FAILED', `domain ${guest.name} does not power itself off within 90 s`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#watchers.clear();
    await Promise.all(
      [...this.#connections.values()].map((connection) =>
        connection.then(
          (qmp) => qmp[Symbol.dispose](),
          () => undefined,
        ),
      ),
    );
  }

  async #guests(): Promise<readonly Guest[]> {
    const { folder } = this.#options;
    if (folder === null) return [];
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    const found: Guest[] = [];
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const guest = { name: entry.name.replace(/\.(sock|socket|qmp|monitor)$/, ''), socket: join(folder, entry.name) };
      if (!entry.isSocket() || !NAME.test(guest.name) || !(await this.#isThere(guest))) continue;
      found.push(guest);
      this.#follow(guest);
    }
    return found;
  }

  /** A socket that one client holds still listens: a second one waits. */
  async #isThere(guest: Guest): Promise<boolean> {
    return this.#connections.has(guest.name) || isListening(guest.socket);
  }

  async #factsOf(guest: Guest): Promise<DomainFacts | null> {
    const status = await limited(
      this.#qmp(guest).then((qmp) => qmp.execute('query-status')),
      stateMs,
      () => new Error('late'),
    ).catch(() => null);
    const word = isObject(status) ? status['status'] : 'running';
    const state = word === 'paused' || word === 'suspended' ? word : word === 'prelaunch' ? 'starting' : word === 'shutdown' ? 'stopping' : 'running';
    return { name: guest.name, id: (await pidOf(guest.socket)) ?? guest.name, hypervisor: 'qemu', state };
  }

  #qmp({ name, socket }: Guest): Promise<QmpConnection> {
    const known = this.#connections.get(name);
    if (known !== undefined) return known;
    const opening = connectQmp(socket);
    this.#connections.set(name, opening);
    const forget = (): void => void (this.#connections.get(name) === opening && this.#connections.delete(name));
    opening.then((qmp) => qmp.closed.then(forget), forget);
    return opening;
  }

  async #isOurs(qmp: QmpConnection, generation: Generation): Promise<boolean> {
    const source = (await sourcesOf(qmp)).get(generation);
    return source === undefined || this.#isSourceOurs(source);
  }

  #isSourceOurs(source: string | undefined): boolean {
    return source !== undefined && (source.includes(`${this.#options.runFolder}/`) || source.startsWith('/dev/mapper/xvd-') || source.startsWith('/dev/dm-'));
  }

  #follow(guest: Guest): void {
    if (this.#followed.has(guest.name) || this.#watchers.size === 0) return;
    this.#followed.add(guest.name);
    void this.#untilEnd(guest)
      .catch((error: unknown) => this.#options.log(`domain ${guest.name}: ${String(error)}`))
      .finally(() => this.#followed.delete(guest.name));
  }

  /** A guest has ended when nobody listens on its socket any more; a connection may end while it goes on. */
  async #untilEnd(guest: Guest): Promise<void> {
    while (!this.#closed) {
      await this.#qmp(guest).then(
        (qmp) => qmp.closed,
        () => new Promise((resolve) => setTimeout(resolve, lookAgainMs).unref()),
      );
      if (this.#closed) return;
      if (await isListening(guest.socket)) continue;
      for (const ended of this.#watchers) ended(guest.name);
      return;
    }
  }
}

/** Connecting and leaving at once costs a QMP server nothing. */
async function isListening(path: string): Promise<boolean> {
  const { connect } = await import('node:net');
  const listens = Promise.withResolvers<boolean>();
  const socket = connect(path, () => listens.resolve(true));
  socket.once('error', (error: NodeJS.ErrnoException) => listens.resolve(error.code === 'EAGAIN'));
  return listens.promise.finally(() => socket.destroy());
}

/** The QEMU whose command line names the socket. */
async function pidOf(socket: string): Promise<string | null> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.startsWith('qemu') || commandLine.includes('/qemu')) if (commandLine.includes(socket)) return pid;
  }
  return null;
}
