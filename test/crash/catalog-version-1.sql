-- A catalog of version 1, as the program of then made it: two disks that were written to, one wiped, one deleted. POOL stands for its
-- device. The times lie in the past of any test.
BEGIN TRANSACTION;
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
  clock_synchronised INTEGER,
  clock_trusted_ms INTEGER
) STRICT;
INSERT INTO meta VALUES(1,'fbe5c86c-eb37-455e-8e22-75a5ae17b338',12,2,5,1,3,9,2,1600423991269,'d657082a-1229-4c3d-beb9-8d844eaf2165',18813700.0,0,1600423991269);
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
INSERT INTO device VALUES(1,'1e102e49-ba47-4b3d-b0ef-1a547badf270','default','POOL','file','{"kind":"label","deviceUuid":"1e102e49-ba47-4b3d-b0ef-1a547badf270"}','POOL',0,41943040,512,1048576,1048576,38,1,1);
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
INSERT INTO disk VALUES(1,'first','default',8388608,512,1600423988955,NULL,'revoke','{"k":"v"}',0,0,0,8388608,0);
INSERT INTO disk VALUES(2,'second','default',5242880,512,1600423989666,NULL,'revoke','{}',0,0,0,5242880,0);
INSERT INTO disk VALUES(3,NULL,'default',6291456,512,1600423990224,1600423990725,'revoke','{}',0,0,0,6291456,0);
INSERT INTO disk VALUES(4,'third','default',3670016,512,1600423991269,NULL,'revoke','{}',0,0,0,4194304,0);
CREATE TABLE disk_label (
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  disk_id INTEGER NOT NULL,
  PRIMARY KEY (key, value, disk_id)
) STRICT, WITHOUT ROWID;
INSERT INTO disk_label VALUES('k','v',1);
CREATE TABLE disk_span (
  span INTEGER PRIMARY KEY,
  soonest INTEGER NOT NULL,
  latest INTEGER NOT NULL
) STRICT;
INSERT INTO disk_span VALUES(0,1600423990725,9007199254740991);
CREATE TABLE run (
  disk_id INTEGER NOT NULL REFERENCES disk (id),
  position INTEGER NOT NULL,
  device_id INTEGER NOT NULL REFERENCES device (id),
  first_extent INTEGER NOT NULL CHECK (first_extent >= 0),
  count INTEGER NOT NULL CHECK (count > 0),
  clean INTEGER NOT NULL,
  PRIMARY KEY (disk_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO run VALUES(1,0,1,0,8,1);
INSERT INTO run VALUES(2,0,1,8,5,0);
INSERT INTO run VALUES(3,0,1,13,6,1);
INSERT INTO run VALUES(4,0,1,19,4,0);
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
INSERT INTO unowned VALUES(1,23,15,0,'default',512,15728640);
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
  created_at INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  CHECK ((disk_id IS NULL) <> (phy_path IS NULL))
) STRICT;
CREATE TABLE worker (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('wiper', 'import', 'export')),
  disk_id INTEGER NOT NULL REFERENCES disk (id),
  boot_id TEXT NOT NULL,
  pid INTEGER NOT NULL,
  start_ticks INTEGER NOT NULL,
  pipe TEXT NOT NULL
) STRICT;
CREATE TABLE event (
  id INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  cause TEXT NOT NULL,
  data TEXT NOT NULL
) STRICT;
INSERT INTO event VALUES(1,1600423988309,'device.formatted','POOL','format','{"pool":"default","extentBytes":1048576,"extents":38,"wiped":false}');
INSERT INTO event VALUES(2,1600423988955,'disk.preparing','vd:1','create','{"sizeBytes":8388608,"name":"first","expiresAt":null}');
INSERT INTO event VALUES(3,1600423989093,'disk.created','vd:1','create','{"sizeBytes":8388608,"name":"first","expiresAt":null}');
INSERT INTO event VALUES(4,1600423989666,'disk.created','vd:2','create','{"sizeBytes":5242880,"name":"second","expiresAt":null}');
INSERT INTO event VALUES(5,1600423990224,'disk.preparing','vd:3','create','{"sizeBytes":6291456,"name":null,"expiresAt":4387423990224}');
INSERT INTO event VALUES(6,1600423990318,'disk.created','vd:3','create','{"sizeBytes":6291456,"name":null,"expiresAt":4387423990224}');
INSERT INTO event VALUES(7,1600423990725,'disk.deleted','vd:3','delete','{"leaseUntil":4387423990224}');
INSERT INTO event VALUES(8,1600423991269,'disk.created','vd:4','create','{"sizeBytes":3670016,"name":"third","expiresAt":null}');
CREATE TABLE history (
  commit_number INTEGER PRIMARY KEY,
  next_event INTEGER NOT NULL,
  -- The commit that last changed a device.
  device_commit INTEGER NOT NULL DEFAULT 0,
  before TEXT NOT NULL
) STRICT;
INSERT INTO history VALUES(4,3,0,'[[1,null,0]]');
INSERT INTO history VALUES(6,4,0,'[[1,["first","default",8388608,512,1600423988955,null,"revoke",{"k":"v"},1,0,0],[[1,0,8,0]]]]');
INSERT INTO history VALUES(7,5,0,'[[2,null,0]]');
INSERT INTO history VALUES(8,6,0,'[[3,null,0]]');
INSERT INTO history VALUES(10,7,0,'[[3,[null,"default",6291456,512,1600423990224,4387423990224,"revoke",{},1,0,0],[[1,13,6,0]]]]');
INSERT INTO history VALUES(11,8,0,'[[3,[null,"default",6291456,512,1600423990224,4387423990224,"revoke",{},0,0,0],0]]');
INSERT INTO history VALUES(12,9,0,'[[4,null,0]]');
CREATE UNIQUE INDEX disk_name ON disk (name) WHERE name IS NOT NULL;
CREATE INDEX disk_lease ON disk (pool, block_bytes, expires_at) WHERE expires_at IS NOT NULL AND held_bytes > 0;
CREATE INDEX disk_bare ON disk (expires_at) WHERE expires_at IS NOT NULL AND held_bytes = 0;
CREATE INDEX run_place ON run (device_id, first_extent, count, clean);
CREATE INDEX unowned_size ON unowned (pool, block_bytes, bytes, device_id, first_extent, clean);
CREATE INDEX vbd_disk ON vbd (disk_id) WHERE disk_id IS NOT NULL;
CREATE INDEX worker_disk ON worker (disk_id);
COMMIT;
PRAGMA application_id = 2021024817;
PRAGMA user_version = 1;
UPDATE meta SET clock_wall_ms = NULL, clock_boot_id = NULL, clock_since_boot_ms = NULL, clock_synchronised = NULL, clock_trusted_ms = NULL;
