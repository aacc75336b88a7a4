// Trees in the form of /sys and /run/udev/data, made for tests: machines that this one is not.

import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { SysRoots } from './sys-block.ts';

export type FixtureDevice = {
  /** As the kernel calls it: `nvme0n1p1`. */
  readonly name: string;
  readonly number: string;
  readonly sectors: number;
  /** Of a partition: the name of its drive, and where it starts. */
  readonly partOf?: string;
  readonly start?: number;
  /** Names of what it stands on. */
  readonly slaves?: readonly string[];
  readonly dm?: { readonly name: string; readonly uuid: string };
  /** Further files: `{ wwid: 'eui.01' }`, `{ 'queue/logical_block_size': '4096' }`. */
  readonly files?: Readonly<Record<string, string>>;
  readonly udev?: Readonly<Record<string, string>>;
};

export async function fixtureRoots(devices: readonly FixtureDevice[]): Promise<AsyncDisposable & { readonly roots: SysRoots }> {
  const root = await mkdtemp(join(tmpdir(), 'xvd-sys-'));
  const sys = join(root, 'sys');
  const udev = join(root, 'udev');
  await mkdir(join(sys, 'dev/block'), { recursive: true });
  await mkdir(udev, { recursive: true });
  const folderOf = (name: string): string => {
    const device = devices.find((candidate) => candidate.name === name);
    return device?.partOf === undefined ? join(sys, 'devices/block', name) : join(folderOf(device.partOf), name);
  };
  for (const device of devices) {
    const folder = folderOf(device.name);
    const put = async (name: string, text: string): Promise<void> => {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), `${text}\n`);
    };
    await put('dev', device.number);
    await put('size', String(device.sectors));
    await put('ro', '0');
    if (device.partOf !== undefined) {
      await put('partition', '1');
      await put('start', String(device.start ?? 0));
    }
    if (device.dm !== undefined) for (const [key, value] of Object.entries(device.dm)) await put(`dm/${key}`, value);
    for (const [name, text] of Object.entries(device.files ?? {})) await put(name, text);
    await symlink(relative(join(sys, 'dev/block'), folder), join(sys, 'dev/block', device.number));
    if (device.udev !== undefined)
      await writeFile(
        join(udev, `b${device.number}`),
        Object.entries(device.udev)
          .map(([key, value]) => `E:${key}=${value}\n`)
          .join(''),
      );
  }
  for (const device of devices) {
    for (const slave of device.slaves ?? []) {
      await mkdir(join(folderOf(device.name), 'slaves'), { recursive: true });
      await mkdir(join(folderOf(slave), 'holders'), { recursive: true });
      await symlink(folderOf(slave), join(folderOf(device.name), 'slaves', slave));
      await symlink(folderOf(device.name), join(folderOf(slave), 'holders', device.name));
    }
  }
  return { roots: { sys, udev, dev: '/dev' }, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}
