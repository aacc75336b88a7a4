// What the API takes and gives, as zod schemas: the edge at which requests are validated, and the source of OpenAPI.

import { z } from 'zod';

const bytes = z.number().int().nonnegative();
const expiresInSeconds = z.number().positive().finite().nullable().optional();
const name = z.string();
/** Of the daemon's host, whose folder nobody knows: from the root. */
const path = z.string().startsWith('/');
const expert = z.union([z.literal(0), z.literal(1), z.literal(2)]);

const recoverRest = { only: z.string().optional(), force: z.boolean().optional() };

export const query = {
  list: z.strictObject({
    which: z.enum(['living', 'expired', 'all']).optional(),
    label: z.string().optional(),
    limit: z.coerce.number().int().positive().optional(),
    after: z.coerce.number().int().nonnegative().optional(),
  }),
  force: z.strictObject({ force: z.enum(['true', 'false']).optional() }),
  detach: z.strictObject({ force: z.enum(['true', 'false']).optional(), generation: z.coerce.number().int().positive().optional() }),
  vbds: z.strictObject({ domain: z.string().optional() }),
  check: z.strictObject({}),
  none: z.strictObject({}),
};

export const body = {
  create: z.strictObject({
    sizeBytes: z.number().int().positive(),
    expiresInSeconds,
    name: name.optional(),
    pool: name.optional(),
    labels: z.record(z.string(), z.string()).optional(),
    onExpiry: z.enum(['revoke', 'hold']).optional(),
    wipe: z.boolean().optional(),
    dryRun: z.boolean().optional(),
  }),
  lease: z.strictObject({ expiresInSeconds }),
  check: z.strictObject({ repair: z.boolean().optional() }),
  format: z.strictObject({
    device: z.string(),
    extentBytes: z.number().int().positive().optional(),
    pool: name.optional(),
    wipe: z.boolean().optional(),
    label: z.boolean().optional(),
    force: z.boolean().optional(),
  }),
  unformat: z.strictObject({ device: path }),
  adopt: z.strictObject({ device: path, replaces: z.string().optional(), dryRun: z.boolean().optional(), force: z.boolean().optional() }),
  backup: z.strictObject({ file: path }),
  recover: z.union([
    z.strictObject({ file: path, ...recoverRest }),
    z.strictObject({ before: z.number().int().nonnegative(), ...recoverRest }),
    z.strictObject({ fromDevices: z.literal(true), devices: z.array(path).optional(), ...recoverRest }),
  ]),
  importLegacy: z.strictObject({
    file: path,
    devices: z.array(z.strictObject({ old: z.string(), new: path })),
    order: z.enum(['row', 'number']).optional(),
    pool: name.optional(),
    dryRun: z.boolean().optional(),
    force: z.boolean().optional(),
  }),
  fullCheck: z.strictObject({ repair: z.boolean().optional(), acceptClock: z.boolean().optional() }),
  attach: z.strictObject({
    source: z.string(),
    target: z.string(),
    domain: z.string(),
    mode: z.enum(['r', 'w', 'rw']).default('r'),
    expert: expert.optional(),
    driver: z.enum(['auto', 'dm', 'nbd']).optional(),
    cache: z.enum(['none', 'writeback']).optional(),
    limit: z.string().optional(),
    delay: z.string().optional(),
    faults: z.string().optional(),
    persist: z.boolean().optional(),
    dryRun: z.boolean().optional(),
  }),
  import: z.strictObject({ image: path, format: z.string().optional(), expert: expert.optional(), trustImage: z.boolean().optional() }),
  export: z.strictObject({ image: path, format: z.string().optional(), expert: expert.optional(), force: z.boolean().optional() }),
  startDomain: z.strictObject({ description: z.unknown(), expert: expert.optional() }),
};

const vbd = z.object({
  domain: z.string(),
  target: z.string(),
  vdev: z.number(),
  source: z.string(),
  mode: z.enum(['r', 'w']),
  generation: z.number(),
  driver: z.enum(['dm', 'nbd']),
  state: z.enum(['attaching', 'attached', 'detaching', 'revoked', 'detached']),
  sizeBytes: bytes,
  devicePath: z.string().nullable(),
  uri: z.string().nullable(),
  sharing: z.number(),
  persist: z.boolean(),
  changed: z.boolean().optional(),
});

const disk = z.object({
  id: z.number(),
  uname: z.string(),
  name: z.string().nullable(),
  pool: z.string(),
  sizeBytes: bytes,
  state: z.enum(['preparing', 'live', 'expired', 'reclaimed']),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  recoverable: z.boolean(),
  lostBytes: bytes,
  labels: z.record(z.string(), z.string()),
  suspect: z.boolean(),
  blockBytes: z.number(),
  vbds: z.array(vbd),
  changed: z.boolean().optional(),
});

const device = z.object({
  device: z.string(),
  pool: z.string(),
  extentBytes: bytes,
  totalBytes: bytes,
  usedBytes: bytes,
  freeBytes: bytes,
  reservedBytes: bytes,
  badBytes: bytes,
  cleanBytes: bytes,
  identity: z.record(z.string(), z.unknown()),
  changed: z.boolean().optional(),
});

const domain = z.object({ name: z.string(), id: z.string(), hypervisor: z.enum(['host', 'qemu', 'xen']), state: z.string(), vbds: z.array(vbd) });

const warnings = z.array(z.string());

export const answer = {
  unformat: z.object({ device: z.string(), changed: z.boolean(), warnings }),
  backup: z.object({ file: z.string(), changed: z.boolean() }),
  recover: z.object({
    disks: z.array(disk),
    reclaimed: z.array(z.string()),
    removed: z.array(z.string()),
    suspect: z.boolean(),
    changed: z.boolean(),
    warnings,
  }),
  importLegacy: z.object({ file: z.string(), devices: z.array(device), disks: z.array(disk), changed: z.boolean(), warnings }),
  vbd,
  disk,
  device,
  domain,
  map: z.object({
    device: z.string(),
    pool: z.string(),
    extentBytes: bytes,
    extents: z.number(),
    runs: z.array(
      z.object({
        firstExtent: z.number(),
        extents: z.number(),
        kind: z.enum(['living', 'preparing', 'expired', 'reclaimed', 'reserved', 'unused', 'bad']),
        disk: z.string().nullable(),
        name: z.string().nullable(),
        clean: z.boolean(),
      }),
    ),
  }),
  copy: z.object({ disk: z.string(), image: z.string(), format: z.string(), sizeBytes: bytes, resumedAtBytes: bytes, changed: z.boolean() }),
  copyProgress: z.object({ kind: z.enum(['import', 'export']), disk: z.string(), image: z.string(), doneBytes: bytes, totalBytes: bytes }),
  extent: z.object({ device: z.string(), startSector: z.number(), sectors: z.number() }),
  check: z.object({ problems: z.array(z.object({ code: z.string(), message: z.string(), repaired: z.boolean() })) }),
  console: z.object({ path: z.string() }),
};
