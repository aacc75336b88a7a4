// A hypervisor in memory, with domains that a test starts and ends, guests that use their VBDs or let go, and a trace of what
// each domain can reach. Faults are injected by a filter, as everywhere: faultyHypervisor().

import { XvdError } from '../../base/error.ts';
import type { Endpoint, Generation, SectorUser } from '../../core/types.ts';
import type { DomainFacts, Hypervisor, Plug } from '../hypervisor.ts';

export type FakeOptions = { readonly name?: 'host' | 'qemu' | 'xen'; readonly domains?: readonly string[] };

export interface FakeHypervisor extends Hypervisor {
  addDomain(name: string, state?: DomainFacts['state']): void;
  setState(name: string, state: DomainFacts['state']): void;
  /** The domain ends for good by itself; its plugs go with it, and watchers are told. */
  endDomain(name: string): void;
  /** The guest mounts a VBD, or lets go: while it uses one, an unplug without force is refused. */
  use(generation: Generation, inUse: boolean): void;
  /** What each plug reaches now. */
  endpoints(): ReadonlyMap<Generation, Endpoint>;
  setForeignUsers(users: readonly SectorUser[]): void;
  /** false: as on a host that lacks it. */
  setAvailable(available: boolean): void;
}

type World = {
  readonly name: 'host' | 'qemu' | 'xen';
  readonly domains: Map<string, DomainFacts>;
  readonly plugs: Map<Generation, Plug>;
  readonly used: Set<Generation>;
  readonly watchers: Set<(domain: string) => void>;
  nextId: number;
};

export function openFakeHypervisor({ name = 'qemu', domains = [] }: FakeOptions = {}): FakeHypervisor {
  const world: World = { name, domains: new Map(), plugs: new Map(), used: new Set(), watchers: new Set(), nextId: 1 };
  let foreign: readonly SectorUser[] = [];
  let isAvailable = true;
  if (name === 'host') world.domains.set('0', { name: '0', id: '0', hypervisor: 'host', state: 'running' });
  for (const domain of domains) addDomain(world, domain, 'running');
  return {
    name,
    available: async () => ({ available: isAvailable, reason: isAvailable ? '' : 'turned off by the test' }),
    domains: async () => [...world.domains.values()],
    find: async (domain) => findDomain(world, domain),
    plug: async (plug) => plugIn(world, plug),
    unplug: async ({ generation, target, force }) => {
      if (!world.plugs.has(generation)) return;
      if (world.used.has(generation) && !force) throw new XvdError('VBD_BUSY', `the guest uses ${target}`);
      world.plugs.delete(generation);
      world.used.delete(generation);
    },
    plugged: async () => [...world.plugs.keys()],
    foreignUsers: async () => foreign,
    start: async (description, plugs) => {
      if (world.domains.has(description.name)) throw new XvdError('DOMAIN_EXISTS', `domain ${description.name} runs already`);
      const facts = addDomain(world, description.name, 'running');
      for (const plug of plugs) plugIn(world, plug);
      return facts;
    },
    stop: async (domain) => endDomain(world, requireDomain(world, domain).name),
    console: async (domain) => `/dev/null#${requireDomain(world, domain).name}`,
    watchEnds: (ended, signal) => {
      world.watchers.add(ended);
      signal.addEventListener('abort', () => world.watchers.delete(ended));
    },
    addDomain: (domain, state = 'running') => void addDomain(world, domain, state),
    setState: (domain, state) => void world.domains.set(domain, { ...requireDomain(world, domain), state }),
    endDomain: (domain) => endDomain(world, domain),
    use: (generation, inUse) => void (inUse ? world.used.add(generation) : world.used.delete(generation)),
    endpoints: () => new Map([...world.plugs].map(([generation, { endpoint }]) => [generation, endpoint])),
    setForeignUsers: (users) => void (foreign = users),
    setAvailable: (available) => void (isAvailable = available),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function addDomain(world: World, name: string, state: DomainFacts['state']): DomainFacts {
  const facts: DomainFacts = { name, id: String(world.nextId), hypervisor: world.name, state };
  world.nextId += 1;
  world.domains.set(name, facts);
  return facts;
}

const findDomain = (world: World, domain: string): DomainFacts | null =>
  world.domains.get(domain) ?? [...world.domains.values()].find(({ id }) => id === domain) ?? null;

function requireDomain(world: World, domain: string): DomainFacts {
  const facts = findDomain(world, domain);
  if (facts === null) throw new XvdError('DOMAIN_NOT_FOUND', `no domain ${domain}`);
  return facts;
}

function plugIn(world: World, plug: Plug): { devicePath: string | null } {
  const { name } = requireDomain(world, plug.domain);
  const taken = [...world.plugs.values()].some((other) => other.generation !== plug.generation && other.domain === name && other.vdev === plug.vdev);
  if (taken) throw new XvdError('TARGET_TAKEN', `${plug.target} of domain ${name} is another VBD`);
  world.plugs.set(plug.generation, { ...plug, domain: name });
  return { devicePath: world.name === 'host' ? plug.target : null };
}

function endDomain(world: World, name: string): void {
  world.domains.delete(name);
  for (const [generation, plug] of world.plugs) {
    if (plug.domain !== name) continue;
    world.plugs.delete(generation);
    world.used.delete(generation);
  }
  for (const watcher of world.watchers) watcher(name);
}
