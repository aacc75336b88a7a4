// The configuration file of a guest for xl, from the same description as for QEMU. Pure. Strings are written as xl's parser reads
// them: it knows no escape for a quote inside quotes, so what holds both kinds is refused.

import { XvdError } from '../../base/error.ts';
import { MIB } from '../../base/units.ts';
import { kernelCommandLine } from '../../core/domain-description.ts';
import { parseSize } from '../../core/size.ts';
import type { DomainDescription } from '../../core/types.ts';
import type { Plug } from '../hypervisor.ts';

export type XenPlug = Pick<Plug, 'target' | 'mode'> & { readonly node: string };

export function guestConfig(description: DomainDescription, plugs: readonly XenPlug[]): string {
  const { name, kernel, ramdisk, memory, vcpus = 1, network, onExit } = description;
  if (kernel === undefined)
    throw new XvdError('NOT_SUPPORTED', `${name}: a guest of Xen is started with a kernel`, { fix: 'Give kernel (and ramdisk), or hypervisor = "qemu".' });
  if (description.firmware !== undefined) throw new XvdError('NOT_SUPPORTED', `${name}: firmware is for guests of QEMU`, { fix: 'Leave it out.' });
  if (description.console !== undefined)
    throw new XvdError('NOT_SUPPORTED', `${name}: Xen keeps what its guests' consoles say by itself`, {
      fix: 'Leave console out; start xenconsoled with --log=guest, or use `xvd domain console`.',
    });
  const lines = [
    ['name', quoted(name)],
    ['type', quoted('pv')],
    ['kernel', quoted(kernel)],
    ...(ramdisk === undefined ? [] : [['ramdisk', quoted(ramdisk)]]),
    ['memory', String(Math.ceil(parseSize(memory) / MIB))],
    ['vcpus', String(vcpus)],
    ['extra', quoted(guestCommandLine(description))],
    ['on_poweroff', quoted('destroy')],
    ['on_crash', quoted('destroy')],
    ['on_reboot', quoted(onExit === 'stop' ? 'destroy' : 'restart')],
    ['disk', `[${plugs.map((plug) => quoted(diskSpecification(plug))).join(', ')}]`],
    ...(network === undefined ? [] : [['vif', `[${quoted(network.bridge === undefined ? '' : `bridge=${network.bridge}`)}]`]]),
  ];
  return lines.map(([key = '', value = '']) => `${key} = ${value}\n`).join('');
}

/** `target` comes last: it takes all that follows, commas too. */
export const diskSpecification = ({ target, mode, node }: XenPlug): string =>
  `format=raw,vdev=${target.replace(/^\/dev\//, '')},access=${mode === 'r' ? 'ro' : 'rw'},backendtype=phy,target=${node}`;

function guestCommandLine(description: DomainDescription): string {
  const words = kernelCommandLine(description);
  return /(^| )console=/.test(words) ? words : `console=hvc0 ${words}`.trimEnd();
}

function quoted(value: string): string {
  if (/[\n\r]/.test(value) || (value.includes('"') && value.includes("'")))
    throw new XvdError('VALUE_INVALID', `xl can't read ${JSON.stringify(value)}: it has both kinds of quotes, or a line end`);
  return value.includes('"') ? `'${value}'` : `"${value}"`;
}
