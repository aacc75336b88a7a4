// How a catalog of an older version becomes one of the next: an ordered list, applied in one transaction with a backup beside.
// A step, once released, is never changed. Version 1 is the first, so there is none yet.

export type Migration = { readonly from: number; readonly sql: string };

export const migrations: readonly Migration[] = [];
