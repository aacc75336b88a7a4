// The table of commands.

import { imageFormats, writableFormats } from '../core/image-format.ts';
import type { Argument, CommandSpec, Flag } from './command.ts';

const disk: Argument = { name: 'DISK', help: 'ID (5 or vd:5) or name' };
const device: Argument = { name: 'DEVICE', help: 'a drive, partition or regular file' };
const target: Argument = { name: 'TARGET', help: 'target device: xvda, /dev/xvdb1, sda, hda …' };
const expires: Flag = { kind: 'text', value: 'TIME', help: 'when the lease ends: 30s, 10m, 2h, 7d, 2w, an ISO 8601 instant, or never (default: never)' };
const force = (help: string): Flag => ({ kind: 'boolean', help });
const expert: Flag = { kind: 'text', value: 'LEVEL', choices: ['0', '1', '2'], help: 'how much unsafe sharing is allowed (default: XVD_EXPERT, else 0)' };
const dryRun: Flag = { kind: 'boolean', help: 'say what would be done, change nothing' };

export const commands: readonly CommandSpec[] = [
  {
    name: 'format',
    summary: 'add a device to the pool',
    details: 'Writes only a label of 1 MiB at the head and the tail of the device.',
    arguments: [device],
    flags: {
      'extent-size': { kind: 'text', value: 'SIZE', help: 'unit of allocation (default 64M)' },
      pool: { kind: 'text', value: 'NAME', help: 'pool to join (default: default)' },
      wipe: { kind: 'boolean', help: 'zero the device now, so that disks need no wiping later' },
      'no-label': { kind: 'boolean', help: 'write nothing; the device is known by its own identity' },
      force: force('take the device although it carries data or is in use'),
    },
    load: () => import('./commands/format.ts'),
  },
  { name: 'unformat', summary: 'take an unused device out of the pool', arguments: [device], flags: {}, load: () => import('./commands/unformat.ts') },
  {
    name: 'adopt',
    summary: 'bind a pool device to the one that replaced it',
    arguments: [{ name: 'DEVICE', help: 'the one that is here now' }],
    flags: {
      replaces: { kind: 'text', value: 'DEVICE', help: 'path or UUID of the pool device (default: by its label, its path, or the only one that is missing)' },
      'dry-run': dryRun,
      force: force('take it although it is in use, has no identity, or carries the label of another catalog'),
    },
    load: () => import('./commands/adopt.ts'),
  },
  { name: 'devices', summary: 'list the devices of the pool', arguments: [], flags: {}, load: () => import('./commands/devices.ts') },
  {
    name: 'create',
    summary: 'make a virtual disk',
    arguments: [{ name: 'SIZE', help: 'with a unit: 64M, 10G, 1.5T; rounded up to 4096 bytes' }],
    flags: {
      expires,
      name: { kind: 'text', value: 'NAME', help: 'a name for it' },
      pool: { kind: 'text', value: 'POOL', help: 'pool to take space from (default: default)' },
      label: { kind: 'list', value: 'K=V', help: 'a label; may be given several times' },
      'on-expiry': {
        kind: 'text',
        value: 'POLICY',
        choices: ['revoke', 'hold'],
        help: 'what happens to its VBDs when the lease ends: revoke (default) or hold',
      },
      'no-wipe': { kind: 'boolean', help: 'do not zero it: what former owners left can be read' },
      'dry-run': dryRun,
    },
    load: () => import('./commands/create.ts'),
  },
  { name: 'refresh', summary: 'set when the lease of a living disk ends', arguments: [disk], flags: { expires }, load: () => import('./commands/refresh.ts') },
  {
    name: 'delete',
    summary: 'end the lease of a disk now',
    arguments: [disk],
    flags: { force: force('revoke what is attached') },
    load: () => import('./commands/delete.ts'),
  },
  {
    name: 'restore',
    summary: 'bring back an expired disk that is still whole',
    arguments: [disk],
    flags: { expires },
    load: () => import('./commands/restore.ts'),
  },
  {
    name: 'list',
    summary: 'list disks',
    arguments: [],
    flags: {
      expired: { kind: 'boolean', help: 'those whose lease is over' },
      all: { kind: 'boolean', help: 'living and expired ones' },
      label: { kind: 'text', value: 'K=V', help: 'only those with this label' },
      limit: { kind: 'text', value: 'N', help: 'at most so many' },
      after: { kind: 'text', value: 'ID', help: 'only those with a higher ID' },
    },
    load: () => import('./commands/list.ts'),
  },
  { name: 'show', summary: 'all of one disk', arguments: [disk], flags: {}, load: () => import('./commands/show.ts') },
  {
    name: 'extents',
    summary: 'the extents of a disk or device, in order',
    arguments: [{ name: 'UNAME', help: 'vd:ID, vd:NAME or phy:DEVICE' }],
    flags: {},
    load: () => import('./commands/extents.ts'),
  },
  {
    name: 'map',
    summary: 'a picture of the pool: who owns what, what can be reclaimed',
    arguments: [{ name: 'DEVICE', optional: true, help: 'only this device' }],
    flags: {},
    load: () => import('./commands/map.ts'),
  },
  {
    name: 'attach',
    summary: 'attach a disk or device to a domain',
    arguments: [
      { name: 'UNAME', help: 'vd:ID, vd:NAME or phy:DEVICE' },
      target,
      { name: 'DOMAIN', help: '0 (this host), a running domain, or with --driver nbd any name' },
      { name: 'MODE', optional: true, choices: ['r', 'w', 'rw'], help: 'r (default), or w (= rw)' },
    ],
    flags: {
      expert,
      driver: { kind: 'text', value: 'DRIVER', choices: ['auto', 'dm', 'nbd'], help: 'auto (default), dm or nbd' },
      cache: { kind: 'text', value: 'MODE', choices: ['none', 'writeback'], help: 'none (default on block devices) or writeback (default on files)' },
      limit: { kind: 'text', value: 'LIMIT', help: 'at most so much a second: bytes (10M), requests (500iops), or both with a comma' },
      delay: { kind: 'text', value: 'TIMES', help: 'to test a guest: requests are late by so much (5ms, or read=5ms,write=1s,flush=2s)' },
      faults: { kind: 'text', value: 'CHANCES', help: 'to test a guest: so many requests fail (1%, or read=0.1%,write=1%,flush=100%)' },
      persist: { kind: 'boolean', help: 'attach it again after a reboot of the host' },
      'dry-run': dryRun,
    },
    load: () => import('./commands/attach.ts'),
  },
  {
    name: 'detach',
    summary: 'detach a target from a domain',
    arguments: [target, { name: 'DOMAIN', help: 'the domain' }],
    flags: {
      force: force('pull it away from a domain that uses it'),
      generation: { kind: 'text', value: 'N', help: 'only that VBD, not a newer one that has taken its target' },
    },
    load: () => import('./commands/detach.ts'),
  },
  {
    name: 'vbds',
    summary: 'list what is attached',
    arguments: [{ name: 'DOMAIN', optional: true, help: 'only of this domain' }],
    flags: {},
    load: () => import('./commands/vbds.ts'),
  },
  {
    name: 'import',
    summary: 'copy an image into a disk',
    details: `The disk then holds what is in the image, and zeros behind it. An import that was interrupted goes on where it was when it is asked for again.
FORMAT is ${imageFormats.join(', ')}; when it is not given, the name of the image tells, else its content.`,
    arguments: [{ name: 'IMAGE', help: 'a file, or a device as raw' }, disk],
    flags: {
      format: { kind: 'text', value: 'FORMAT', help: 'format of the image' },
      expert,
      'trust-image': { kind: 'boolean', help: 'also read the backing and data files that the image names' },
    },
    load: () => import('./commands/import.ts'),
  },
  {
    name: 'export',
    summary: 'copy a disk into an image',
    details: `The image gets its name when it is whole. An export that was interrupted goes on where it was when it is asked for again.
FORMAT is ${writableFormats.join(', ')}; when it is not given, the name of the image tells, else raw.`,
    arguments: [disk, { name: 'IMAGE', help: 'the file to make' }],
    flags: { format: { kind: 'text', value: 'FORMAT', help: 'format of the image' }, expert, force: force('replace a file that has that name') },
    load: () => import('./commands/export.ts'),
  },
  {
    name: 'domain start',
    summary: 'start a domain from its description',
    details:
      'FILE is TypeScript (`export const domain = defineDomain({…})`), JSON or TOML with: name, kernel (or firmware), memory, disks, and optionally hypervisor, ramdisk, vcpus, cmdline, root, expert, network, console, onExit.',
    arguments: [{ name: 'FILE', help: 'the description' }],
    flags: { expert: { kind: 'text', value: 'LEVEL', choices: ['0', '1', '2'], help: 'expert level, before that of the description' } },
    load: () => import('./commands/domain-start.ts'),
  },
  {
    name: 'domain stop',
    summary: 'stop a domain',
    arguments: [{ name: 'NAME', help: 'the domain' }],
    flags: { force: force('end it without asking it') },
    load: () => import('./commands/domain-stop.ts'),
  },
  { name: 'domain list', summary: 'list domains', arguments: [], flags: {}, load: () => import('./commands/domain-list.ts') },
  {
    name: 'domain autostart',
    summary: 'start a domain after each reboot of the host',
    details: 'The description is kept as it is now: after a change, give it again. With --off, FILE may be the name of the domain.',
    arguments: [{ name: 'FILE', help: 'the description' }],
    flags: { off: { kind: 'boolean', help: 'no more' } },
    load: () => import('./commands/domain-autostart.ts'),
  },
  {
    name: 'domain console',
    summary: 'connect to the console of a domain (Ctrl-] leaves)',
    arguments: [{ name: 'NAME', help: 'the domain' }],
    flags: {},
    load: () => import('./commands/domain-console.ts'),
  },
  {
    name: 'serve',
    summary: 'run the daemon: data path, lease keeper, HTTP API',
    arguments: [],
    flags: {
      listen: { kind: 'text', value: 'HOST:PORT', help: 'serve the API over TCP too; needs --token-file, and TLS unless it is loopback' },
      'nbd-listen': { kind: 'text', value: 'HOST:PORT', help: 'serve NBD over TCP too; needs --tls-cert, --tls-key and --tls-ca' },
      'tls-ca': { kind: 'text', value: 'FILE', help: 'authority that vouches for NBD clients, as PEM' },
      'token-file': { kind: 'text', value: 'FILE', help: 'file that holds the token of the API over TCP' },
      'tls-cert': { kind: 'text', value: 'FILE', help: 'certificate (PEM)' },
      'tls-key': { kind: 'text', value: 'FILE', help: 'its key (PEM)' },
    },
    load: () => import('./commands/serve.ts'),
  },
  {
    name: 'check',
    summary: 'check the catalog against itself, the devices and what is attached',
    arguments: [],
    flags: { repair: { kind: 'boolean', help: 'mend what needs no guess' }, 'accept-clock': { kind: 'boolean', help: 'believe the clock from here on' } },
    load: () => import('./commands/check.ts'),
  },
  {
    name: 'backup',
    summary: 'copy the catalog into a new file, online',
    arguments: [{ name: 'FILE', help: 'the copy' }],
    flags: {},
    load: () => import('./commands/backup.ts'),
  },
  {
    name: 'recover',
    summary: 'go back to an earlier catalog',
    details:
      'To a backup (FILE), to the time before an event, or to what the labels of the devices know. IDs never fall; all space counts as dirty; a disk whose extents others have had since comes back as reclaimed.',
    arguments: [{ name: 'FILE', optional: true, help: 'a copy that `xvd backup` made' }],
    flags: {
      before: { kind: 'text', value: 'EVENT', help: 'undo what this event and all later ones did to disks' },
      'from-devices': { kind: 'boolean', help: 'by the copies on the labels of the devices' },
      device: { kind: 'list', value: 'DEVICE', help: 'with --from-devices: look here too, such as in a regular file; may be given several times' },
      only: { kind: 'text', value: 'DISK', help: 'only this disk; also while others are attached' },
      force: force('put a catalog aside that cannot be read; every disk is suspect then'),
    },
    load: () => import('./commands/recover.ts'),
  },
  {
    name: 'import-legacy',
    summary: 'take over a database of 2004',
    details: 'FILE is the SQLite 3 file, or the SQL text of `sqlite .dump`. Into an unused catalog only; nothing is written on the devices.',
    arguments: [{ name: 'FILE', help: 'the old database' }],
    flags: {
      device: { kind: 'list', value: 'OLD=NEW', help: 'for each partition of vdisk_part: the device at whose sector 0 its first extent lies now' },
      order: { kind: 'text', value: 'ORDER', choices: ['row', 'number'], help: 'of the extents of a disk: row (default, as data was stored) or number' },
      pool: { kind: 'text', value: 'NAME', help: 'pool to join (default: default)' },
      'dry-run': dryRun,
      force: force('take devices that are in use or have no identity of their own'),
    },
    load: () => import('./commands/import-legacy.ts'),
  },
  {
    name: 'events',
    summary: 'what happened to disks, leases and VBDs',
    arguments: [],
    flags: { follow: { kind: 'boolean', help: 'go on as events come' }, after: { kind: 'text', value: 'ID', help: 'only those after this one' } },
    load: () => import('./commands/events.ts'),
  },
  {
    name: 'completion',
    summary: 'print the completion of a shell',
    arguments: [{ name: 'SHELL', choices: ['bash', 'zsh', 'fish'], help: 'bash, zsh or fish' }],
    flags: {},
    load: () => import('./commands/completion.ts'),
  },
];
