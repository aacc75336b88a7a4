// OpenMetrics of the pool and of what is attached.

import { listDevices } from '../app/list-devices.ts';
import { vbds } from '../app/vbds.ts';
import type { System } from '../app/system.ts';

type Family = {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];
};

export async function metricsOf(system: System): Promise<string> {
  const devices = await listDevices(system);
  const attached = await vbds(system);
  const bytes = (name: string, help: string, pick: (device: (typeof devices)[number]) => number): Family => ({
    name: `xvd_device_${name}_bytes`,
    help,
    samples: devices.map((device) => ({ labels: { device: device.device, pool: device.pool }, value: pick(device) })),
  });
  const families: Family[] = [
    bytes('total', 'size of the extents of a device', (device) => device.totalBytes),
    bytes('used', 'owned by living disks', (device) => device.usedBytes),
    bytes('free', 'free to be allocated', (device) => device.freeBytes),
    bytes('reserved', 'expired, but not yet fenced', (device) => device.reservedBytes),
    bytes('bad', 'could not be wiped or read', (device) => device.badBytes),
    bytes('clean', 'known to read as zeros', (device) => device.cleanBytes),
    {
      name: 'xvd_vbd_state',
      help: '1 for the state that a VBD is in',
      samples: attached.map(({ domain, target, source, state }) => ({ labels: { domain, target, source, state }, value: 1 })),
    },
  ];
  return `${families.map(textOf).join('')}# EOF\n`;
}

function textOf({ name, help, samples }: Family): string {
  const lines = samples.map(
    ({ labels, value }) =>
      `${name}{${Object.entries(labels)
        .map(([key, text]) => `${key}="${escaped(text)}"`)
        .join(',')}} ${value}\n`,
  );
  return `# TYPE ${name} gauge\n# HELP ${name} ${help}\n${lines.join('')}`;
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
