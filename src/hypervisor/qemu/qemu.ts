// Guests of QEMU: each a process of its own that outlives the daemon and is found again by its folder in XVD_RUN.
// A start is all or nothing; an end is believed only when the process is gone.

import { XvdError } from '../../base/error.ts';
import type { DomainDescription, Footprint, Generation, SectorUser } from '../../core/types.ts';
import type { Programs } from '../../host/programs.ts';
import type { DomainFacts, Hypervisor, Plug, Plugged, Unplug } from '../hypervisor.ts';
import { chooseAccelerator } from './accelerator.ts';
import { knows, pluggedIn, plugInto, unplugFrom, usualLetGoMs } from './disks.ts';
import { isStarted, killDomain, listFolders, livingPid, makeFolder, markStarted, removeFolder, waitGone, domainFolder } from './domain-folder.ts';
import type { DomainFolder } from './domain-folder.ts';
import { ForeignGuests } from './foreign-guests.ts';
import { firmwareOf, prepareConsole, removeConsole } from './machine-files.ts';
import { machineArguments } from './machine.ts';
import type { Accelerator } from './machine.ts';
import { isObject } from './qmp-codec.ts';
import { connectQmp, limited } from './qmp-connection.ts';
import type { QmpConnection } from './qmp-connection.ts';

export type QemuOptions = {
  readonly runFolder: string;
  readonly programs: Programs;
  readonly log: (message: string) => void;
  /** How long a guest may take to power itself off; under emulation that can be a minute. */
  readonly powerOffMs?: number;
  /** How long a guest may take to let go of a disk. */
  readonly letGoMs?: number;
  /** Where guests that xvd did not start have a spare QMP socket each. */
  readonly foreignFolder?: string | null;
  /** What a path stands on: of the host. */
  readonly footprintOf?: (path: string) => Promise<Footprint>;
};

/** A guest that has only begun to boot does not hear the button yet: it is pressed again. */
const pressAgainMs = 10_000;

/** Everybody who asks for a domain asks for its state: one guest that hangs must not hold up the rest for long. */
const stateMs = 1_500;

export const openQemu = (options: QemuOptions): Hypervisor => new Qemu(options);

class Qemu implements Hypervisor {
  readonly name = 'qemu';
  readonly #options: QemuOptions;
  readonly #connections = new Map<string, Promise<QmpConnection>>();
  readonly #watchers = new Set<(domain: string) => void>();
  readonly #underWay = new Map<string, 'starting' | 'stopping'>();
  /** By domain: settled when its end has been told. */
  readonly #follows = new Map<string, Promise<void>>();
  readonly #foreign: ForeignGuests;
  #accelerator: Promise<Accelerator> | null = null;
  #closed = false;

  constructor(options: QemuOptions) {
    const { runFolder, log, letGoMs = usualLetGoMs, foreignFolder: folder = null, footprintOf = async () => ({ own: [], below: [] }) } = options;
    this.#options = options;
    this.#foreign = new ForeignGuests({ folder, runFolder, footprintOf, letGoMs, log });
  }

  async available(): Promise<{ readonly available: boolean; readonly reason: string }> {
    const path = this.#options.programs.find('qemu-system-x86_64');
    return path === null ? { available: false, reason: 'qemu-system-x86_64 is not installed' } : { available: true, reason: path };
  }

  async domains(): Promise<readonly DomainFacts[]> {
    const facts = await Promise.all((await listFolders(this.#options.runFolder)).map((folder) => this.#factsOf(folder)));
    const own = facts.filter((fact) => fact !== null);
    return [...own, ...(await this.#foreign.domains()).filter(({ name }) => !own.some((mine) => mine.name === name))];
  }

  async find(domain: string): Promise<DomainFacts | null> {
    return (await this.domains()).find(({ name, id }) => name === domain || id === domain) ?? null;
  }

  async plug(plug: Plug): Promise<Plugged> {
    const foreign = await this.#foreignGuest(plug.domain);
    if (foreign === null) await plugInto(await this.#qmp(await this.#folderOf(plug.domain)), plug);
    else await this.#foreign.plug(foreign, plug);
    return { devicePath: null };
  }

  /** The generation alone says which VBD: one that is in none of the domains has been let go of. */
  async unplug({ generation, domain, target, force }: Unplug): Promise<void> {
    if (await this.#foreign.unplug({ generation, domain, target, force })) return;
    const folders = await listFolders(this.#options.runFolder);
    // Its own first: what is found there needs no answer of the others.
    for (const folder of folders.toSorted((a, b) => Number(b.name === domain) - Number(a.name === domain))) {
      const pid = await livingPid(folder);
      if (pid === null) continue;
      try {
        const qmp = await this.#qmp(folder);
        if (await knows(qmp, generation)) return await unplugFrom(qmp, generation, { force, letGoMs: this.#options.letGoMs ?? usualLetGoMs });
        if (folder.name === domain) return;
      } catch (error) {
        // Another guest that does not answer is no reason to refuse this one.
        if ((folder.name === domain || domain === '') && !(await waitGone(folder, pid, 1_000))) throw error;
      }
    }
  }

  async plugged(): Promise<readonly Generation[]> {
    const each = await Promise.all(
      (await listFolders(this.#options.runFolder)).map(async (folder) => ((await livingPid(folder)) === null ? [] : pluggedIn(await this.#qmp(folder)))),
    );
    return [...each.flat(), ...(await this.#foreign.plugged())];
  }

  foreignUsers(): Promise<readonly SectorUser[]> {
    return this.#foreign.users();
  }

  async start(description: DomainDescription, plugs: readonly Plug[]): Promise<DomainFacts> {
    const { programs, runFolder } = this.#options;
    const folder = domainFolder(runFolder, description.name);
    if (this.#underWay.has(description.name)) throw new XvdError('DOMAIN_EXISTS', `domain ${description.name} is ${this.#underWay.get(description.name)}`);
    this.#underWay.set(description.name, 'starting');
    let pid: number;
    try {
      await this.#makeRoom(folder);
      try {
        this.#accelerator ??= chooseAccelerator(programs);
        await prepareConsole(folder, description);
        const firmwareFile = firmwareOf(description);
        const facts = { accelerator: await this.#accelerator, paths: folder, ...(firmwareFile === null ? {} : { firmwareFile }) };
        await this.#run(machineArguments(description, plugs, facts));
        await (await this.#qmp(folder)).execute('cont');
        pid = await markStarted(folder);
      } catch (error) {
        await this.#tearDown(folder);
        throw error;
      }
    } finally {
      this.#underWay.delete(description.name);
    }
    this.#follow(folder, pid);
    return { name: description.name, id: String(pid), hypervisor: 'qemu', state: 'running' };
  }

  async stop(domain: string, { force }: { readonly force: boolean }): Promise<void> {
    const foreign = await this.#foreignGuest(domain);
    if (foreign !== null) return this.#foreign.powerOff(foreign, force);
    const folder = await this.#folderOf(domain);
    this.#underWay.set(folder.name, 'stopping');
    try {
      if (!force) await this.#powerOff(folder);
      await this.#tearDown(folder);
      await this.#follows.get(folder.name);
    } finally {
      this.#underWay.delete(folder.name);
    }
  }

  async console(domain: string): Promise<string> {
    if ((await this.#foreignGuest(domain)) !== null) throw new XvdError('NOT_SUPPORTED', `the console of domain ${domain} is kept by whoever started it`);
    return (await this.#folderOf(domain)).consoleSocket;
  }

  watchEnds(ended: (domain: string) => void, signal: AbortSignal): void {
    this.#watchers.add(ended);
    signal.addEventListener('abort', () => this.#watchers.delete(ended));
    this.#foreign.watch(ended, signal);
    void this.#findAgain().catch((error: unknown) => this.#options.log(`domains can't be looked through: ${String(error)}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#watchers.clear();
    await this.#foreign[Symbol.asyncDispose]();
    await Promise.all(
      [...this.#connections.values()].map((connection) =>
        connection.then(
          (qmp) => qmp[Symbol.dispose](),
          () => undefined,
        ),
      ),
    );
  }

  /** A name of ours comes first. */
  async #foreignGuest(domain: string): Promise<Awaited<ReturnType<ForeignGuests['find']>>> {
    const own = domainFolder(this.#options.runFolder, domain);
    return (await livingPid(own)) === null ? this.#foreign.find(domain) : null;
  }

  async #factsOf(folder: DomainFolder): Promise<DomainFacts | null> {
    const pid = await livingPid(folder);
    if (pid === null) return null;
    return { name: folder.name, id: String(pid), hypervisor: 'qemu', state: this.#underWay.get(folder.name) ?? (await this.#stateOf(folder)) };
  }

  async #stateOf(folder: DomainFolder): Promise<DomainFacts['state']> {
    const status = await limited(
      this.#qmp(folder).then((qmp) => qmp.execute('query-status')),
      stateMs,
      () => new Error('late'),
    ).catch(() => null);
    const word = isObject(status) ? status['status'] : 'running'; // a QEMU that does not answer still runs its guest
    if (word === 'paused' || word === 'suspended') return word;
    if (word === 'prelaunch') return 'starting';
    return word === 'shutdown' ? 'stopping' : 'running';
  }

  async #folderOf(domain: string): Promise<DomainFolder> {
    const found = await this.find(domain);
    if (found === null) throw new XvdError('DOMAIN_NOT_FOUND', `QEMU here has no domain '${domain}'`);
    return domainFolder(this.#options.runFolder, found.name);
  }

  async #run(args: readonly string[]): Promise<void> {
    try {
      await this.#options.programs.run('qemu-system-x86_64', args);
    } catch (error) {
      if (!(error instanceof XvdError) || error.code !== 'PROGRAM_FAILED') throw error;
      const { stderr } = error.details;
      const said = (typeof stderr === 'string' ? stderr.trim() : '') || error.message;
      throw new XvdError('HYPERVISOR_FAILED', `QEMU does not start: ${said.replaceAll(/^qemu-system-\S+: /gm, '')}`, { cause: error });
    }
  }

  async #makeRoom(folder: DomainFolder): Promise<void> {
    if ((await livingPid(folder)) === null) await this.#follows.get(folder.name);
    if (await makeFolder(folder)) return;
    const pid = await livingPid(folder);
    if (pid !== null && (await isStarted(folder))) throw new XvdError('DOMAIN_EXISTS', `domain ${folder.name} runs already (pid ${pid})`);
    await this.#tearDown(folder);
    await makeFolder(folder);
  }

  /** One connection for each domain: QEMU serves one client of a QMP socket at a time. */
  #qmp(folder: DomainFolder): Promise<QmpConnection> {
    const known = this.#connections.get(folder.name);
    if (known !== undefined) return known;
    const opening = connectQmp(folder.qmpSocket);
    this.#connections.set(folder.name, opening);
    const forget = (): void => void (this.#connections.get(folder.name) === opening && this.#connections.delete(folder.name));
    opening.then((qmp) => qmp.closed.then(forget), forget);
    return opening;
  }

  async #powerOff(folder: DomainFolder): Promise<void> {
    const { powerOffMs = 90_000 } = this.#options;
    const qmp = await this.#qmp(folder);
    const press = (): void => void qmp.execute('system_powerdown').catch(() => undefined);
    press();
    const timer = setInterval(press, pressAgainMs);
    try {
      await limited(qmp.closed, powerOffMs, () => {
        return new XvdError('HYPERVISOR_FAILED', `domain ${folder.name} does not power itself off within ${powerOffMs / 1000} s`, {
          fix: 'Shut it down from inside, or use --force to end it at once.',
        });
      });
    } finally {
      clearInterval(timer);
    }
  }

  /** Whatever state it is in: afterwards there is no process and no folder. */
  async #tearDown(folder: DomainFolder): Promise<void> {
    const pid = await livingPid(folder);
    if (pid !== null) {
      await this.#qmp(folder)
        .then((qmp) => qmp.execute('quit', {}, 3_000))
        .catch(() => undefined);
      if (!(await waitGone(folder, pid, 3_000))) await killDomain(folder);
    }
    removeConsole(folder);
    await removeFolder(folder);
  }

  #follow(folder: DomainFolder, pid: number): void {
    const followed = this.#untilEnd(folder, pid).catch((error: unknown) => this.#options.log(`domain ${folder.name}: ${String(error)}`));
    this.#follows.set(folder.name, followed);
    void followed.then(() => this.#follows.get(folder.name) === followed && this.#follows.delete(folder.name));
  }

  /** Waits for the end of a guest and tells it. A connection may end while its guest goes on: then another is made. */
  async #untilEnd(folder: DomainFolder, pid: number): Promise<void> {
    while (!this.#closed) {
      const connected = await this.#qmp(folder).then(
        (qmp) => qmp.closed.then(() => true),
        () => false,
      );
      if (this.#closed) return;
      if (!(await waitGone(folder, pid, connected ? 1_000 : 5_000))) continue;
      removeConsole(folder);
      await removeFolder(folder);
      for (const ended of this.#watchers) ended(folder.name);
      return;
    }
  }

  /** After a restart of the daemon: guests that run are followed, what ended or never came up is cleared away. */
  async #findAgain(): Promise<void> {
    for (const folder of await listFolders(this.#options.runFolder)) {
      if (this.#underWay.has(folder.name)) continue;
      if (this.#follows.has(folder.name)) continue;
      const pid = await livingPid(folder);
      if (pid !== null && (await isStarted(folder))) this.#follow(folder, pid);
      else {
        this.#options.log(`domain ${folder.name} ended while nobody watched`);
        await this.#tearDown(folder);
        for (const ended of this.#watchers) ended(folder.name);
      }
    }
  }
}
