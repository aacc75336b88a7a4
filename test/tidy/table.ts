// The import table of ARCHITECTURE.md and the list of what must not be written, as literals.

import type { Layer } from './imports.ts';
import type { Ban } from './shape.ts';

const pure = { node: false, packages: [] } as const;
const world = ['base', 'core', 'programs'] as const;

/** Of implementations: `folder/name` belongs to the port of the folder, and never sees another implementation. */
const implementation = (name: string, packages: readonly string[] = []): Layer => ({
  name,
  holds: new RegExp(`^src/${name}/`),
  imports: [...world, `${name.split('/')[0]} port`],
  node: true,
  packages,
});

/** A source belongs to the first layer that holds it. The composition root and the daemon may import all that is not above them. */
export const layers: readonly Layer[] = [
  { name: 'base', holds: /^src\/base\//, imports: [], ...pure },
  { name: 'core', holds: /^src\/core\//, imports: ['base'], ...pure },
  { name: 'catalog port', holds: /^src\/catalog\/catalog\.ts$/, imports: ['base', 'core (types)'], ...pure },
  { name: 'host port', holds: /^src\/host\/host\.ts$/, imports: ['base', 'core (types)'], ...pure },
  { name: 'datapath port', holds: /^src\/datapath\/datapath\.ts$/, imports: ['base', 'core (types)'], ...pure },
  { name: 'hypervisor port', holds: /^src\/hypervisor\/hypervisor\.ts$/, imports: ['base', 'core (types)'], ...pure },
  {
    name: 'programs',
    holds: /^src\/host\/(programs|syscalls|io-flusher|memory-calls|descriptor-calls|lock-calls|semaphore-calls|clock-calls|request-queue|read-ring|koffi)\.ts$/,
    imports: ['base'],
    node: true,
    packages: ['koffi'],
  },
  { name: 'image port', holds: /^src\/image\/image\.ts$/, imports: ['base', 'core (types)'], ...pure },
  implementation('catalog/sqlite'),
  implementation('catalog/memory'),
  implementation('catalog/legacy'),
  implementation('host/linux'),
  implementation('host/simulated'),
  implementation('datapath/nbd'),
  implementation('datapath/dm'),
  implementation('datapath/memory'),
  implementation('datapath/filters'),
  implementation('hypervisor/this-host'),
  implementation('hypervisor/qemu'),
  implementation('hypervisor/xen'),
  implementation('hypervisor/fake'),
  implementation('image/qemu'),
  implementation('image/memory'),
  { name: 'app', holds: /^src\/app\//, imports: ['base', 'core', 'catalog port', 'host port', 'datapath port', 'hypervisor port', 'image port'], ...pure },
  {
    name: 'api client',
    holds: /^src\/api\/client[^/]*\.ts$/,
    imports: ['base', 'core (types)', 'app (types)', 'api (types)'],
    node: true,
    packages: ['zod (types)'],
  },
  { name: 'api', holds: /^src\/api\//, imports: ['base', 'core (types)', 'app', 'api client'], node: true, packages: ['hono', '@hono/node-server', 'zod'] },
  {
    name: 'composition root',
    holds:
      /^src\/daemon\/(compose|clock|catalog-aids|label-guard|labels-later|leave-process|recovery-system|daemon-lock|same-file|settings|socket-access)\.ts$/,
    imports: [],
    node: true,
    packages: ['pino', 'smol-toml'],
  },
  { name: 'daemon', holds: /^src\/daemon\//, imports: [], node: true, packages: ['pino', 'smol-toml', '@hono/node-server'] },
  {
    name: 'cli',
    holds: /^src\/cli\//,
    imports: ['base', 'core', 'app (types)', 'api client', 'library', 'composition root', 'daemon'],
    node: true,
    packages: ['smol-toml', 'zod (types)'],
  },
  {
    name: 'library',
    holds: /^src\/(index\.ts|library\/)/,
    imports: ['base', 'core', 'app', 'api client', 'composition root', 'daemon'],
    node: true,
    packages: ['smol-toml'],
  },
].map((layer, _, all) => {
  const above = { 'composition root': ['api', 'daemon', 'library', 'cli'], daemon: ['library', 'cli'] }[layer.name];
  return above === undefined ? layer : { ...layer, imports: all.map(({ name }) => name).filter((name) => !above.includes(name)) };
});

const code = /^(src|test|scripts|bench|lab|demo)\/.*\.ts$/;
const production = /^src\/(?!.*\.test\.ts$).*\.ts$/;
const tests = /\.test\.ts$/;

// The patterns are put together from halves so that this file does not forbid itself.
export const bans: readonly Ban[] = [
  { name: 'core decides, it does not wait', where: /^src\/core\/(?!.*\.test\.ts$)/, pattern: /\b(async|await|Promise)\b/ },
  {
    name: 'time is a parameter',
    where: /^src\/(base|core|app)\/(?!.*\.test\.ts$)/,
    pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bset(Timeout|Interval)\(/,
  },
  { name: 'chance is a parameter', where: production, pattern: /\bMath\.random\b/ },
  { name: 'no enum', where: code, pattern: /^\s*(export )?(const )?enum \w/m },
  { name: 'no default export', where: production, pattern: /^export default\b/m },
  { name: 'open ends belong into an issue', where: code, pattern: new RegExp(`\\b(${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')})\\b`), comments: true },
  { name: 'a path of one machine', where: /./, pattern: new RegExp(['/wo', 'rk/|/ro', 'ot/'].join('')), comments: true },
  { name: 'a folder of one machine', where: production, pattern: new RegExp(['[\'"`]/tm', 'p\\b'].join('')) },
  {
    name: 'no test is skipped',
    where: tests,
    pattern: /\b(test|it|describe|suite)\.(skip|only|todo)\b|\b(skip|todo): (?!false)|\bonly: true|\bt\.(skip|todo)\(/,
  },
  { name: 'a test does not wait for time to pass', where: tests, pattern: /\bsetTimeout\(|timers\/promises/ },
];
