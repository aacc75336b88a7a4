// The devices of the pool, as one process last read them: they change seldom and every command needs them. Valid as long as
// the row of numbers names the commit that they were read at.

import type { DeviceId, PoolDevice } from '../../core/types.ts';
import type { Connection } from './connection.ts';
import { deviceOf } from './rows.ts';

/** Ascending by ID. */
export type Devices = ReadonlyMap<DeviceId, PoolDevice>;

export class DeviceCache {
  #key = '';
  #devices: Devices = new Map();

  /** Of a transaction that has not changed devices itself. */
  at(connection: Connection, catalogId: string, commit: number): Devices {
    const key = `${catalogId} ${commit}`;
    if (key !== this.#key) {
      this.#devices = readDevices(connection);
      this.#key = key;
    }
    return this.#devices;
  }
}

export function readDevices(connection: Connection): Devices {
  return new Map(connection.all('SELECT * FROM device ORDER BY id').map((row) => [Number(row['id']), deviceOf(row)]));
}
