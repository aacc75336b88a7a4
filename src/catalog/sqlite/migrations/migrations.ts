// How a catalog of an older version becomes one of the next: an ordered list, applied in one transaction with a backup beside.
// A step, once released, is never changed.

export type Migration = { readonly from: number; readonly sql: string };

/** Written out, not shared with the schema of today, which goes on changing. */
export const migrations: readonly Migration[] = [
  {
    from: 1,
    sql: `CREATE TABLE intent (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('attach', 'autostart', 'starting')),
  key TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  problem TEXT,
  value TEXT NOT NULL,
  UNIQUE (kind, key)
) STRICT;`,
  },
  {
    // What a commit found of disks stands beside its last event; nobody reads whether the clock was synchronised then.
    from: 2,
    sql: `ALTER TABLE event ADD COLUMN commit_number INTEGER;
ALTER TABLE event ADD COLUMN before TEXT;
ALTER TABLE history DROP COLUMN device_commit;
ALTER TABLE meta DROP COLUMN clock_synchronised;`,
  },
  {
    from: 3,
    sql: 'ALTER TABLE vbd ADD COLUMN delay TEXT; ALTER TABLE vbd ADD COLUMN faults TEXT;',
  },
];
