// The one table of errors. Each row: exit status of the command, HTTP status of the API, title, and what to do about it
// when the place that throws has nothing better to say. docs/errors.md is held against this table by a test.
// Only the faces (cli, api) turn errors into text; NBD errors stand with the wire codec.

type Row = { readonly exit: 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9; readonly http: number; readonly title: string; readonly fix: string };

const table = {
  INTERNAL: { exit: 1, http: 500, title: 'unexpected failure', fix: 'This is a bug of xvd: please report it with the output of the same command.' },
  USAGE: { exit: 2, http: 400, title: 'the command or request is malformed', fix: 'See --help for what is taken.' },
  VALUE_INVALID: { exit: 2, http: 422, title: 'a value is out of range or malformed', fix: 'Give a value of the form that the message names.' },
  DISK_NOT_FOUND: { exit: 3, http: 404, title: 'no such disk', fix: '`xvd list --all` shows every disk.' },
  DEVICE_NOT_FOUND: { exit: 3, http: 404, title: 'no such device', fix: 'Check the path; `xvd devices` shows the devices of the pool.' },
  POOL_NOT_FOUND: { exit: 3, http: 404, title: 'no such pool', fix: '`xvd devices` shows the pools; `xvd format DEVICE --pool NAME` makes one.' },
  DOMAIN_NOT_FOUND: { exit: 3, http: 404, title: 'no such domain', fix: '`xvd domain list` shows the domains known here.' },
  VBD_NOT_FOUND: { exit: 3, http: 404, title: 'no such VBD', fix: '`xvd vbds` shows what is attached.' },
  EVENT_NOT_FOUND: { exit: 3, http: 404, title: 'no such event', fix: '`xvd events` shows the events that are kept.' },
  FILE_NOT_FOUND: { exit: 3, http: 404, title: 'no such file', fix: 'Check the path.' },
  ROUTE_NOT_FOUND: { exit: 3, http: 404, title: 'no such route', fix: 'GET /api/v1/openapi.json lists the routes.' },
  SHARING_REFUSED: {
    exit: 4,
    http: 409,
    title: 'the sharing is too unsafe for the expert level',
    fix: 'Detach what conflicts, attach read-only, or raise --expert if you know that the users agree.',
  },
  DEVICE_IN_USE: { exit: 4, http: 409, title: 'the device is in use', fix: 'Unmount it or let its holders go, or use --force if they are not real.' },
  DEVICE_CARRIES_DATA: { exit: 4, http: 409, title: 'the device carries data', fix: 'Check that nobody needs the data, then use --force.' },
  DEVICE_IS_SYSTEM: { exit: 4, http: 409, title: 'the device holds the running system', fix: 'Use another device: this one is never taken.' },
  DEVICE_OVERLAPS_POOL: { exit: 4, http: 409, title: 'the device overlaps a device of the pool', fix: 'Use a device that shares no sector with the pool.' },
  DEVICE_IDENTITY_MISSING: { exit: 4, http: 409, title: 'the device has no identity of its own', fix: 'Use --force to know it by path and size only.' },
  DEVICE_IDENTITY_MISMATCH: {
    exit: 4,
    http: 409,
    title: 'the device is not the one that the catalog knows, or not the only one',
    fix: 'Connect the right device, or bind its replacement with `xvd adopt DEVICE`.',
  },
  LABEL_FOREIGN: {
    exit: 4,
    http: 409,
    title: 'the device carries the label of another catalog',
    fix: 'Use the other catalog, or --force to take the device over.',
  },
  IMAGE_NAMES_FILES: {
    exit: 4,
    http: 409,
    title: 'the image names other files',
    fix: 'Flatten it first (`qemu-img convert`), or use --trust-image if you know where it comes from.',
  },
  COPY_ON_WRITE: {
    exit: 4,
    http: 409,
    title: 'the file lies on a copy-on-write filesystem',
    fix: 'What is wiped there may stay readable; use --force if that is acceptable.',
  },
  POOL_FULL: {
    exit: 5,
    http: 507,
    title: 'not enough free space in the pool',
    fix: 'Delete disks, wait for leases to end, or add a device with `xvd format`.',
  },
  DEVICE_TOO_SMALL: { exit: 5, http: 507, title: 'the device is too small for one extent', fix: 'Use the smaller --extent-size that the message names.' },
  DISK_TOO_SMALL: { exit: 5, http: 507, title: 'the disk is too small', fix: 'Create a disk of at least the size that the message names.' },
  IMAGE_NO_SPACE: { exit: 5, http: 507, title: 'no space left for the image', fix: 'Free space where the image is to lie, or write it elsewhere.' },
  CATALOG_DISK_FULL: { exit: 5, http: 507, title: 'no space left for the catalog', fix: 'Free space on the filesystem of XVD_STATE.' },
  LIMIT_REACHED: { exit: 5, http: 507, title: 'a limit of xvd is reached', fix: 'See the limits in the manual.' },
  DISK_BUSY: { exit: 6, http: 409, title: 'the disk is in use', fix: 'Detach it first (`xvd vbds` shows where it is attached), or use --force.' },
  DISK_EXPIRED: { exit: 6, http: 409, title: 'the lease of the disk is over', fix: 'Bring it back with `xvd restore` first.' },
  DISK_RECLAIMED: { exit: 6, http: 409, title: 'extents of the disk belong to others now', fix: 'It cannot be restored; create a new disk.' },
  DISK_LIVE: { exit: 6, http: 409, title: 'the disk is living', fix: 'Use `xvd refresh` to change its lease.' },
  DISK_PREPARING: {
    exit: 6,
    http: 409,
    title: 'the disk is still being prepared',
    fix: 'Run `xvd create` with the same name and size to complete it, `xvd check --repair`, or delete it.',
  },
  NAME_TAKEN: { exit: 6, http: 409, title: 'the name is taken', fix: 'Choose another name.' },
  DEVICE_BUSY: { exit: 6, http: 409, title: 'disks still need the device', fix: 'Delete the disks on it and detach them first.' },
  TARGET_TAKEN: { exit: 6, http: 409, title: 'the target is in use', fix: 'Detach what is there first, or choose another target.' },
  VBD_BUSY: { exit: 6, http: 409, title: 'the VBD is in use', fix: 'Unmount it in its domain first, or use --force to pull it away.' },
  IMAGE_EXISTS: { exit: 6, http: 409, title: 'a file of that name exists already', fix: 'Choose another name, or use --force to replace it.' },
  COPY_STOPPED: { exit: 6, http: 409, title: 'the copy was stopped', fix: 'Run the same command again: it goes on where it was.' },
  DOMAIN_EXISTS: { exit: 6, http: 409, title: 'a domain of that name runs already', fix: 'Stop it first, or choose another name.' },
  DAEMON_RUNNING: { exit: 6, http: 409, title: 'a daemon serves this catalog already', fix: 'Stop the other daemon first.' },
  CATALOG_LOCKED: {
    exit: 6,
    http: 409,
    title: 'another process keeps the catalog locked',
    fix: 'Try again; find the process that holds catalog.sqlite if it lasts.',
  },
  FENCE_UNPROVED: {
    exit: 6,
    http: 409,
    title: 'not proved that no write can arrive any more',
    fix: 'The extents stay reserved; `xvd check` says what holds them.',
  },
  CATALOG_IN_USE: {
    exit: 6,
    http: 409,
    title: 'the catalog is in use',
    fix: 'Detach what is attached and wait for what is being wiped, or use an empty XVD_STATE.',
  },
  IDEMPOTENCY_CONFLICT: { exit: 6, http: 409, title: 'the Idempotency-Key was used for another request', fix: 'Use a new key for a new request.' },
  DEVICE_FAILED: { exit: 7, http: 502, title: 'a device failed', fix: 'Check the kernel log and the device.' },
  PROGRAM_FAILED: { exit: 7, http: 502, title: 'an external program failed', fix: 'The message has what it said.' },
  PROGRAM_MISSING: { exit: 8, http: 501, title: 'a program that this needs is not installed', fix: 'Install the package that the message names.' },
  HYPERVISOR_FAILED: { exit: 7, http: 502, title: 'the hypervisor failed', fix: 'The message has what it said.' },
  DAEMON_NOT_RUNNING: { exit: 8, http: 501, title: 'the daemon is not running', fix: 'Start it with `xvd serve`.' },
  NOT_PERMITTED: { exit: 8, http: 403, title: 'not permitted', fix: 'Run as root, or give yourself access to what the message names.' },
  NOT_SUPPORTED: { exit: 8, http: 501, title: 'not possible on this host', fix: 'See the documentation for what this host lacks.' },
  CATALOG_DAMAGED: { exit: 9, http: 500, title: 'the catalog is damaged', fix: 'Bring a good copy back with `xvd recover`.' },
  CATALOG_NEWER: { exit: 9, http: 500, title: 'the catalog is of a newer version', fix: 'Use the newer xvd; the catalog was left untouched.' },
  LEGACY_DAMAGED: {
    exit: 9,
    http: 500,
    title: 'the database of 2004 cannot be taken over as it is',
    fix: 'Mend the rows that the message names in a copy of it, and import that.',
  },
  CATALOG_STALE: { exit: 9, http: 500, title: 'a device knows a newer catalog', fix: 'Check XVD_STATE; then `xvd recover --from-devices`.' },
  PROBLEMS_FOUND: { exit: 9, http: 500, title: 'check found problems', fix: 'See the list; `xvd check --repair` mends what needs no guess.' },
} as const satisfies Record<string, Row>;

export type ErrorCode = keyof typeof table;
export const errorTable: Readonly<Record<ErrorCode, Row>> = table;

export type ErrorOptions = {
  /** What to do about it here; the table's own words when left out. */
  readonly fix?: string;
  readonly cause?: unknown;
  /** Further members of the JSON error object (`level`, `conflicts` of a sharing refusal). */
  readonly details?: Readonly<Record<string, unknown>>;
};

/** An answer to the world: what was tried, on what, and why it failed. */
export class XvdError extends Error {
  override readonly name = 'XvdError';
  readonly code: ErrorCode;
  readonly fix: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fix = options.fix ?? table[code].fix;
    this.details = options.details ?? {};
  }

  /** By what it is, not by its class: each built program has a copy of the class, and the command loads several of them. */
  static override [Symbol.hasInstance](value: unknown): value is XvdError {
    return value instanceof Error && value.name === 'XvdError' && 'code' in value && typeof value.code === 'string' && value.code in table;
  }

  get exit(): number {
    return table[this.code].exit;
  }
}

/** What the faces print or send: `{"error": …}` without the wrapper. */
export function errorBody(error: unknown): Record<string, unknown> & { code: ErrorCode; message: string; fix: string } {
  if (error instanceof XvdError) return { code: error.code, message: error.message, fix: error.fix, ...error.details };
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'INTERNAL', message, fix: table.INTERNAL.fix };
}
