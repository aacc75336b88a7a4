// The catalog's own file in XVD_STATE. Nobody opens it but SQLite: others look whether it is there, and watch it.

/** Files that SQLite keeps beside it, and backups before a migration, begin with this name. */
export const CATALOG_FILE = 'catalog.sqlite';
