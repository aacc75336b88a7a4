// The tables of the catalog in SQLite, as they are made new. Runs, not extents, are the rows. What hot queries need is kept
// beside the facts (pool, block size and bytes of unowned runs; who can reach a disk and what it holds; the span of expiries
// of each 256 disks), so that they are index look-ups whatever the size of the pool; selfCheck() proves it against the facts.

/** "xvd1" in ASCII. */
export const APPLICATION_ID = 0x78766431;
export const SCHEMA_VERSION = 4;

/** Stands for "never" where expiries are compared. */
export const NEVER_MS = Number.MAX_SAFE_INTEGER;
/** IDs of disks in one row of disk_span. */
export const SPAN_DISKS = 256;

export const schema = `
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  catalog_id TEXT NOT NULL,
  commit_number INTEGER NOT NULL,
  next_device INTEGER NOT NULL,
  next_disk INTEGER NOT NULL,
  next_generation INTEGER NOT NULL,
  next_worker INTEGER NOT NULL,
  next_event INTEGER NOT NULL,
  -- The commit that last changed a device.
  device_commit INTEGER NOT NULL DEFAULT 0,
  clock_wall_ms INTEGER,
  clock_boot_id TEXT,
  clock_since_boot_ms REAL,
  clock_trusted_ms INTEGER
) STRICT;

CREATE TABLE device (
  id INTEGER PRIMARY KEY,
  uuid TEXT NOT NULL UNIQUE,
  pool TEXT NOT NULL,
  path TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('block', 'file')),
  identity TEXT NOT NULL,
  drive_path TEXT NOT NULL,
  drive_start_sector INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  block_bytes INTEGER NOT NULL CHECK (block_bytes IN (512, 4096)),
  extent_bytes INTEGER NOT NULL CHECK (extent_bytes > 0),
  data_start_bytes INTEGER NOT NULL,
  extent_count INTEGER NOT NULL CHECK (extent_count > 0),
  labelled INTEGER NOT NULL,
  overcommitted INTEGER NOT NULL
) STRICT;

CREATE TABLE disk (
  id INTEGER PRIMARY KEY CHECK (id > 0),
  name TEXT,
  pool TEXT NOT NULL,
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  block_bytes INTEGER NOT NULL CHECK (block_bytes IN (512, 4096)),
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  on_expiry TEXT NOT NULL CHECK (on_expiry IN ('revoke', 'hold')),
  labels TEXT NOT NULL,
  preparing INTEGER NOT NULL,
  suspect INTEGER NOT NULL,
  lost_bytes INTEGER NOT NULL CHECK (lost_bytes >= 0),
  held_bytes INTEGER NOT NULL DEFAULT 0 CHECK (held_bytes >= 0),
  reachers INTEGER NOT NULL DEFAULT 0 CHECK (reachers >= 0)
) STRICT;
CREATE UNIQUE INDEX disk_name ON disk (name) WHERE name IS NOT NULL;
-- A disk is in one of these: what a lease costs when it changes is one index. Those that somebody reaches are few: they are passed over.
CREATE INDEX disk_lease ON disk (pool, block_bytes, expires_at) WHERE expires_at IS NOT NULL AND held_bytes > 0;
CREATE INDEX disk_bare ON disk (expires_at) WHERE expires_at IS NOT NULL AND held_bytes = 0;

CREATE TABLE disk_label (
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  disk_id INTEGER NOT NULL,
  PRIMARY KEY (key, value, disk_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE disk_span (
  span INTEGER PRIMARY KEY,
  soonest INTEGER NOT NULL,
  latest INTEGER NOT NULL
) STRICT;

CREATE TABLE run (
  disk_id INTEGER NOT NULL REFERENCES disk (id),
  position INTEGER NOT NULL,
  device_id INTEGER NOT NULL REFERENCES device (id),
  first_extent INTEGER NOT NULL CHECK (first_extent >= 0),
  count INTEGER NOT NULL CHECK (count > 0),
  clean INTEGER NOT NULL,
  PRIMARY KEY (disk_id, position)
) STRICT, WITHOUT ROWID;
-- Says all of a run a second time, so that the check notices damage of either.
CREATE INDEX run_place ON run (device_id, first_extent, count, clean);

CREATE TABLE unowned (
  device_id INTEGER NOT NULL REFERENCES device (id),
  first_extent INTEGER NOT NULL CHECK (first_extent >= 0),
  count INTEGER NOT NULL CHECK (count > 0),
  clean INTEGER NOT NULL,
  pool TEXT NOT NULL,
  block_bytes INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (device_id, first_extent)
) STRICT, WITHOUT ROWID;
CREATE INDEX unowned_size ON unowned (pool, block_bytes, bytes, device_id, first_extent, clean);

CREATE TABLE bad (
  device_id INTEGER NOT NULL REFERENCES device (id),
  first_extent INTEGER NOT NULL CHECK (first_extent >= 0),
  count INTEGER NOT NULL CHECK (count > 0),
  clean INTEGER NOT NULL,
  PRIMARY KEY (device_id, first_extent)
) STRICT, WITHOUT ROWID;

CREATE TABLE vbd (
  generation INTEGER PRIMARY KEY,
  domain TEXT NOT NULL,
  hypervisor TEXT NOT NULL,
  target TEXT NOT NULL,
  vdev INTEGER NOT NULL,
  disk_id INTEGER REFERENCES disk (id),
  phy_path TEXT,
  mode TEXT NOT NULL CHECK (mode IN ('r', 'w')),
  driver TEXT NOT NULL,
  cache TEXT NOT NULL,
  state TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  sharing INTEGER NOT NULL,
  device_path TEXT,
  uri TEXT,
  persist INTEGER NOT NULL,
  rate_limit TEXT,
  delay TEXT,
  faults TEXT,
  created_at INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  CHECK ((disk_id IS NULL) <> (phy_path IS NULL))
) STRICT;
CREATE INDEX vbd_disk ON vbd (disk_id) WHERE disk_id IS NOT NULL;

CREATE TABLE worker (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('wiper', 'import', 'export')),
  disk_id INTEGER NOT NULL REFERENCES disk (id),
  boot_id TEXT NOT NULL,
  pid INTEGER NOT NULL,
  start_ticks INTEGER NOT NULL,
  pipe TEXT NOT NULL
) STRICT;
CREATE INDEX worker_disk ON worker (disk_id);

-- What is to be done after a reboot, or undone after a start that was cut off.
CREATE TABLE intent (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('attach', 'autostart', 'starting')),
  key TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  problem TEXT,
  value TEXT NOT NULL,
  UNIQUE (kind, key)
) STRICT;

CREATE TABLE event (
  id INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  cause TEXT NOT NULL,
  data TEXT NOT NULL,
  -- Of the last event of a commit that changed disks: what it found of them, as [id, row | null | 0, runs | 0] of each.
  commit_number INTEGER,
  before TEXT
) STRICT;

-- The same of commits that told no event.
CREATE TABLE history (
  commit_number INTEGER PRIMARY KEY,
  next_event INTEGER NOT NULL,
  before TEXT NOT NULL
) STRICT;
`;
