// The library in use: a pool on a regular file, a disk with a lease, its extents. Run it with XVD_STATE and XVD_RUN of your own:
//   node examples/lease.ts POOL_FILE

import { resolve } from 'node:path';
import { openXvd, XvdError } from 'xvd';

const MIB = 2 ** 20;
const HOUR_MS = 3_600_000;
const [file = 'pool.img'] = process.argv.slice(2);

await using xvd = await openXvd();

const device = await xvd.formatDevice({ device: resolve(file), extentBytes: 16 * MIB, force: true });
console.log(`${device.device}: ${device.freeBytes / MIB} MiB free`);

const disk = await xvd.createDisk({ sizeBytes: 20 * MIB, expiresInMs: HOUR_MS, name: 'web', labels: { owner: 'example' } });
console.log(`${disk.uname} lives until ${disk.expiresAt}`);

for (const { startSector, sectors } of await xvd.extentsOf(disk.uname)) console.log(`sectors ${startSector} to ${startSector + sectors - 1}`);

await xvd.deleteDisk({ disk: disk.uname });
const back = await xvd.restoreDisk({ disk: disk.uname, expiresInMs: HOUR_MS });
console.log(`restored: ${back.state}, ${back.lostBytes} bytes lost`);

try {
  await xvd.createDisk({ sizeBytes: 2 ** 50 });
} catch (error) {
  if (!(error instanceof XvdError)) throw error;
  console.log(`${error.code}: ${error.fix}`);
}
