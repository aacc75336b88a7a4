// OpenMetrics of the pool and of what is attached.

import { listDevices } from '../app/list-devices.ts';
import { vbdStats } from '../app/vbd-stats.ts';
import type { VbdStats } from '../app/vbd-stats.ts';
import type { System } from '../app/system.ts';

type Labels = Readonly<Record<string, string>>;
type Sample = { readonly labels: Labels; readonly value: number; /** Behind the family's name: `_total`, `_bucket`. */ readonly suffix?: string };
type Family = { readonly name: string; readonly type: 'gauge' | 'counter' | 'histogram'; readonly help: string; readonly samples: readonly Sample[] };

export async function metricsOf(system: System): Promise<string> {
  const devices = await listDevices(system);
  const attached = await vbdStats(system);
  const bytes = (name: string, help: string, pick: (device: (typeof devices)[number]) => number): Family => ({
    name: `xvd_device_${name}_bytes`,
    type: 'gauge',
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
      type: 'gauge',
      help: '1 for the state that a VBD is in',
      samples: attached.map(({ vbd: { domain, target, source, state } }) => ({ labels: { domain, target, source, state }, value: 1 })),
    },
    ...vbdFamilies(attached),
  ];
  return `${families.map(textOf).join('')}# EOF\n`;
}

/** A generation is never used again: counters of one set of labels never go back. */
function vbdFamilies(attached: readonly VbdStats[]): Family[] {
  const served = attached.flatMap(({ vbd: { domain, target, source, generation }, stats }) =>
    stats === null ? [] : [{ stats, labels: { domain, target, source, generation: String(generation) } }],
  );
  const counter = (name: string, help: string, pick: (stats: (typeof served)[number]['stats']) => Readonly<Record<string, number | null>>): Family => ({
    name: `xvd_vbd_${name}`,
    type: 'counter',
    help,
    samples: served.flatMap(({ stats, labels }) =>
      Object.entries(pick(stats)).flatMap(([kind, value]) =>
        value === null ? [] : [{ labels: { ...labels, ...(kind === '' ? {} : { kind }) }, value, suffix: '_total' }],
      ),
    ),
  });
  return [
    {
      name: 'xvd_vbd_connections',
      type: 'gauge',
      help: 'clients that are connected',
      samples: served.map(({ stats, labels }) => ({ labels, value: stats.connections })),
    },
    counter('requests', 'requests that were served', ({ reads, writes, flushes }) => ({ read: reads, write: writes, flush: flushes })),
    counter('bytes', 'bytes that were read and written', ({ readBytes, writtenBytes }) => ({ read: readBytes, write: writtenBytes })),
    counter('errors', 'requests that were answered with an error', ({ errors }) => ({ '': errors })),
    {
      name: 'xvd_vbd_latency_seconds',
      type: 'histogram',
      help: 'what requests took, from when they were begun until they were answered',
      samples: served.flatMap(({ stats, labels }) => Object.entries(stats.latencies ?? {}).flatMap(([kind, counts]) => histogram({ ...labels, kind }, counts))),
    },
  ];
}

/** Of counts by powers of two of a microsecond; the sum is not known, so it is left out, as OpenMetrics allows, and the count is that of the last bucket. */
function histogram(labels: Labels, counts: readonly number[]): Sample[] {
  let sum = 0;
  const buckets = counts.map((count, index): Sample => {
    sum += count;
    const limit = index === counts.length - 1 ? '+Inf' : String(2 ** index / 1e6);
    return { labels: { ...labels, le: limit }, value: sum, suffix: '_bucket' };
  });
  return sum === 0 ? [] : buckets;
}

function textOf({ name, type, help, samples }: Family): string {
  const lines = samples.map(
    ({ labels, value, suffix = '' }) =>
      `${name}${suffix}{${Object.entries(labels)
        .map(([key, text]) => `${key}="${escaped(text)}"`)
        .join(',')}} ${value}\n`,
  );
  return `# TYPE ${name} ${type}\n# HELP ${name} ${help}\n${lines.join('')}`;
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
