// A domain as its user describes it, in TypeScript, JSON or TOML. Anything unknown is an error that names it.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { requireName } from './name.ts';
import { parseSize } from './size.ts';
import { parseTarget } from './target.ts';
import type { DomainDescription } from './types.ts';
import { parseUname } from './uname.ts';

type Check = (value: unknown, path: string) => void;

const fail = (path: string, wanted: string, value: unknown): never => {
  throw new XvdError('VALUE_INVALID', `${path}: ${wanted} is wanted, not ${value === undefined ? 'nothing' : JSON.stringify(value)}`, {
    fix: 'See `xvd domain start --help` for the description.',
  });
};

const text: Check = (value, path) => void (typeof value === 'string' && value !== '' && !value.includes('\0') ? 0 : fail(path, 'a text', value));
const oneOf =
  (...words: readonly unknown[]): Check =>
  (value, path) =>
    void (words.includes(value) ? 0 : fail(path, words.map((word) => JSON.stringify(word)).join(' or '), value));
const count =
  (most: number): Check =>
  (value, path) =>
    void (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most ? 0 : fail(path, `a whole number from 1 to ${most}`, value));
const parsed =
  (parse: (value: string) => unknown): Check =>
  (value, path) => {
    text(value, path);
    try {
      parse(value as string);
    } catch (error) {
      throw error instanceof XvdError ? new XvdError(error.code, `${path}: ${error.message}`, { fix: error.fix, cause: error }) : error;
    }
  };
/** A part of the kernel's `ip=`, where a blank or a colon would begin something else. */
const hostName: Check = (value, path) =>
  void (typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(value) ? 0 : fail(path, 'a host name', value));
const address: Check = (value, path) => {
  const numbers = typeof value === 'string' ? value.split('.') : [];
  if (numbers.length !== 4 || numbers.some((number) => !/^\d{1,3}$/.test(number) || Number(number) > 255)) fail(path, 'an IPv4 address', value);
};

function record(value: unknown, path: string, known: Readonly<Record<string, Check>>, required: readonly string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(path, 'an object', value);
  const entries = Object.entries(value as object);
  for (const [key, inner] of entries) {
    // Own keys only: `constructor` is in every object.
    const check = Object.hasOwn(known, key) ? known[key] : undefined;
    const at = path === '' ? key : `${path}.${key}`;
    if (check === undefined) throw new XvdError('VALUE_INVALID', `${at}: unknown key`, { fix: `Known here: ${Object.keys(known).join(', ')}.` });
    if (inner !== undefined) check(inner, at);
  }
  for (const key of required) if ((value as Record<string, unknown>)[key] === undefined) fail(path === '' ? key : `${path}.${key}`, 'a value', undefined);
}

/** A bridge alone may be said by its name. */
const network: Check = (value, path) =>
  typeof value === 'string'
    ? text(value, path)
    : record(value, path, { ip: address, netmask: address, gateway: address, hostname: hostName, bridge: text }, []);
const disk: Check = (value, path) =>
  record(value, path, { source: parsed(parseUname), target: parsed(parseTarget), mode: oneOf('r', 'w') }, ['source', 'target', 'mode']);
const disks: Check = (value, path) => {
  if (!Array.isArray(value)) return fail(path, 'a list', value);
  if (value.length > limits.domainDisks) fail(path, `at most ${limits.domainDisks} disks`, value.length);
  value.forEach((item, index) => disk(item, `${path}[${index}]`));
  const targets = (value as { target: string }[]).map(({ target }) => parseTarget(target).target);
  const twice = targets.find((target, index) => targets.indexOf(target) !== index);
  if (twice !== undefined) throw new XvdError('VALUE_INVALID', `${path}: ${twice} is there twice`);
};

const keys: Readonly<Record<keyof DomainDescription, Check>> = {
  name: parsed((value) => (/^\d+$/.test(value) ? fail('name', 'a name that is not only digits', value) : requireName(value, 'domain'))),
  hypervisor: oneOf('qemu', 'xen'),
  kernel: text,
  firmware: text,
  ramdisk: text,
  memory: parsed(parseSize),
  vcpus: count(1024),
  cmdline: text,
  root: text,
  expert: oneOf(0, 1, 2),
  network,
  console: text,
  onExit: oneOf('stop', 'restart'),
  disks,
};

export function validateDescription(value: unknown): DomainDescription {
  record(value, '', keys, ['name', 'memory', 'disks']);
  const given = value as DomainInput;
  if (given.kernel === undefined) {
    if (given.firmware === undefined) fail('kernel', 'a kernel, or a firmware that boots from the disks,', undefined);
    for (const key of ['ramdisk', 'cmdline', 'root'] as const)
      if (given[key] !== undefined)
        throw new XvdError('VALUE_INVALID', `${key}: is for a kernel, and none is given`, { fix: 'Give `kernel`, or leave it to what is on the disk.' });
  }
  const { network: net, ...rest } = given;
  return net === undefined ? rest : { ...rest, network: typeof net === 'string' ? { bridge: net } : net };
}

/** As a user writes it: a bridge alone may be said by its name. */
export type DomainInput = Omit<DomainDescription, 'network'> & { readonly network?: NonNullable<DomainDescription['network']> | string };

/** For descriptions in TypeScript: types are checked as they are written, values when the domain starts. */
export const defineDomain = <T extends DomainInput>(description: T): T => description;

/** `root=`, `ip=` (kernel, Documentation/admin-guide/nfs/nfsroot.rst) and the user's own words, in this order. */
export function kernelCommandLine(description: DomainDescription, rootDevice?: string): string {
  const words: string[] = [];
  if (description.root !== undefined) {
    const [device, ...flags] = description.root.split(/\s+/);
    words.push(`root=${rootDevice ?? device ?? ''}`, ...flags);
  }
  const { ip, gateway, netmask, hostname } = description.network ?? {};
  if (ip !== undefined) words.push(`ip=${ip}::${gateway ?? ''}:${netmask ?? ''}:${hostname ?? ''}::off`);
  if (description.cmdline !== undefined) words.push(description.cmdline);
  return words.join(' ');
}
