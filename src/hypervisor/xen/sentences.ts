// What Xen's tools and hotplug scripts say when they refuse, as sentences with what to do. They are known by their words: paths in
// them change with udev.

import { XvdError } from '../../base/error.ts';

const known: readonly { readonly words: RegExp; readonly message: string; readonly fix: string }[] = [
  { words: /is mounted in a guest domain/, message: 'another guest has it', fix: 'Detach it there first.' },
  { words: /is mounted in the privileged domain/, message: 'it is mounted on this host', fix: 'Unmount it first.' },
  { words: /is mounted read-write in a guest domain/, message: 'another guest writes to it', fix: 'Detach it there first.' },
  { words: /already exists in xenstore/, message: 'a device that was half made is in the way', fix: 'Detach the target with --force, then try again.' },
  {
    words: /not enough (free )?memory|failed to free memory/i,
    message: 'there is not enough memory for the guest',
    fix: 'Give it less memory, or end another guest.',
  },
  {
    words: /[Kk]ernel image|xc_dom_(core|elf|boot)|panic: .*kernel|cannot find.*kernel/,
    message: 'its kernel can not be loaded',
    fix: 'Give an uncompressed or gzip kernel for Xen PV.',
  },
  { words: /losetup|failed to find an unused loop device/, message: 'no loop device is free', fix: 'Detach loop devices that nobody uses.' },
];

/** HYPERVISOR_FAILED with the sentence, and behind it the words. */
export function failureOf(what: string, said: string): XvdError {
  const words = said
    .split('\n')
    .map((line) => line.replace(/^libxl: error: \S+: ?/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('Parsing config'));
  const match = known.find((one) => one.words.test(said));
  const detail = [...new Set(words)].slice(0, 3).join('; ');
  const message = match === undefined ? detail || 'xl failed without a word' : `${match.message} (${detail})`;
  return new XvdError('HYPERVISOR_FAILED', `${what}: ${message}`, match === undefined ? {} : { fix: match.fix });
}
