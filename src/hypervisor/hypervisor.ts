// The port of a hypervisor: puts an endpoint into a domain under a target device, and takes it out again.
//
// Contract: plug() and unplug() are idempotent for one generation. plug() returns when the domain has been given the
// device; unplug() when it has let go. Without force an unplug of what the domain still uses is VBD_BUSY and changes nothing.

import type { DomainDescription, Endpoint, Generation, SectorUser, VbdMode } from '../core/types.ts';

export type DomainFacts = {
  readonly name: string;
  /** The hypervisor's own number or pid; `0` for this host. */
  readonly id: string;
  readonly hypervisor: 'host' | 'qemu' | 'xen';
  readonly state: 'running' | 'paused' | 'suspended' | 'starting' | 'stopping';
};

export type Plug = {
  readonly generation: Generation;
  readonly domain: string;
  readonly target: string;
  readonly vdev: number;
  readonly mode: VbdMode;
  readonly serial: string;
  readonly endpoint: Endpoint;
  /** Of the disk; 512 when left out. */ readonly blockBytes?: 512 | 4096;
};
/** `devicePath`: where the domain's own side can see it (`/dev/xvda` on this host), else null. */
export type Plugged = { readonly devicePath: string | null };
export type Unplug = { readonly generation: Generation; readonly domain: string; readonly target: string; readonly force: boolean };

export interface Hypervisor extends AsyncDisposable {
  readonly name: 'host' | 'qemu' | 'xen';
  /**
   * What is taken away by force loses the requests that the guest has in flight, and its kernel waits for them for ever, and with it
   * for every later device: the data path ends first, and they fail.
   */
  readonly forceLosesRequests?: true;
  /** false, with the reason, where this host lacks it. */
  available(): Promise<{ readonly available: boolean; readonly reason: string }>;
  domains(): Promise<readonly DomainFacts[]>;
  /** By name or number. */
  find(domain: string): Promise<DomainFacts | null>;
  plug(plug: Plug): Promise<Plugged>;
  unplug(unplug: Unplug): Promise<void>;
  /** VBDs that are plugged now, by generation, as the hypervisor itself tells: for reconciling after a crash. */
  plugged(): Promise<readonly Generation[]>;
  /** What domains use that xvd did not attach. */
  foreignUsers(): Promise<readonly SectorUser[]>;
  /** All or nothing: on failure nothing is left. The VBDs are served already. */
  start(description: DomainDescription, plugs: readonly Plug[]): Promise<DomainFacts>;
  /** Without force: asks the guest to power off and waits. Returns when the domain has ended. */
  stop(domain: string, options: { readonly force: boolean }): Promise<void>;
  /** Path of the socket or pty of the console. */
  console(domain: string): Promise<string>;
  /** Calls back when a domain has ended for good, until the signal. */
  watchEnds(ended: (domain: string) => void, signal: AbortSignal): void;
}
