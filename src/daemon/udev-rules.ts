// The host keeps its hands off guests' data: udev is told not to look into what VBDs show, so that no partition table,
// filesystem, LVM, RAID or swap signature that a guest writes is read, linked or activated by this host. The rules lie in
// /run/udev/rules.d, for this boot; docs/56-xvd.rules is the same for those who install them for good.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Programs } from '../host/programs.ts';
import type { Log } from './compose.ts';

/** After device-mapper's own rules have run (10-dm.rules, 55-dm.rules with Debian) and before those that look (13-…, 60-…). */
const places = ['12', '56'] as const;

export function udevRules(runFolder: string): string {
  return `# What guests write on VBDs of xvd is theirs: it is not probed, linked or activated on this host.
# Made by xvd for its VBDs under ${runFolder}.
SUBSYSTEM!="block", GOTO="xvd_end"
ACTION=="remove", GOTO="xvd_end"
# VBDs by device-mapper, whichever catalog's.
KERNEL=="dm-*", ATTR{dm/uuid}=="XVD-*", GOTO="xvd_vbd"
# VBDs of domain 0 by a loop device or by kernel NBD.
KERNEL=="loop*", ATTR{loop/backing_file}=="${runFolder}/dom0/*", GOTO="xvd_vbd"
KERNEL=="nbd*", TEST=="${runFolder}/dom0/nodes/%k", GOTO="xvd_vbd"
GOTO="xvd_end"
LABEL="xvd_vbd"
ENV{DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG}="1"
ENV{DM_UDEV_DISABLE_DISK_RULES_FLAG}="1"
ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1"
ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"
ENV{UDISKS_IGNORE}="1"
ENV{SYSTEMD_READY}="0"
OPTIONS:="nowatch"
LABEL="xvd_end"
`;
}

/** Where udev runs and we may; nothing to do elsewhere, or where they lie already. */
export async function keepHandsOff(runFolder: string, programs: Programs, log: Log, udevFolder = '/run/udev'): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync(join(udevFolder, 'control'))) return;
  const text = udevRules(runFolder);
  const own = createHash('sha256').update(runFolder).digest('hex').slice(0, 8);
  try {
    const files = places.map((place) => join(udevFolder, 'rules.d', `${place}-xvd-${own}.rules`));
    if (files.every((file) => existsSync(file) && readFileSync(file, 'utf8') === text)) return;
    mkdirSync(join(udevFolder, 'rules.d'), { recursive: true });
    for (const file of files) writeFileSync(file, text);
    await programs.run('udevadm', ['control', '--reload']);
  } catch (error) {
    log('udev.rules-not-made', { reason: error instanceof Error ? error.message : String(error) });
  }
}
