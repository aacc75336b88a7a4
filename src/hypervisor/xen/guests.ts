// What `xl list -v` says of domains. Pure.

import type { DomainFacts } from '../hypervisor.ts';

export type ListedDomain = {
  readonly name: string;
  readonly id: string;
  readonly uuid: string;
  readonly state: DomainFacts['state'];
  /** Why it shut down, while it is still there: `0` power off, `1` reboot, `2` suspend, `3` crash; else null. */
  readonly shutdown: '0' | '1' | '2' | '3' | null;
};

const row = /^(.*?)\s+(\d+)\s+\d+\s+\d+\s+([-a-z]{6})\s+[\d.]+\s+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s+(\S+)/;

export function parseList(text: string): readonly ListedDomain[] {
  return text.split('\n').flatMap((line) => {
    const [, name, id, flags = '', uuid, reason] = row.exec(line) ?? [];
    // One without a name is dying, and nobody can do anything with it.
    if (name === undefined || name === '(null)' || id === undefined || uuid === undefined || id === '0') return [];
    const shutdown = /^[0-3]$/.test(reason ?? '') ? (reason as ListedDomain['shutdown']) : null;
    return [{ name, id, uuid, shutdown, state: stateOf(flags, shutdown) }];
  });
}

/** Flags: running, blocked, paused, shut down, crashed, dying. */
function stateOf(flags: string, shutdown: ListedDomain['shutdown']): DomainFacts['state'] {
  if (flags.includes('d') || flags.includes('c')) return 'stopping';
  if (flags.includes('s')) return shutdown === '2' ? 'suspended' : 'stopping';
  return flags.includes('p') ? 'paused' : 'running';
}
