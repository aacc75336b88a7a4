// Draws the layers as the imports have them today, not as anybody thinks they are: docs/layers.md, by `make drawing`.
// Arrows point from who imports to what is imported, and a lower layer is always drawn below.

import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { layerEdges, ranksOf } from '../test/tidy/drawing.ts';
import { layers } from '../test/tidy/table.ts';

const root = resolve(import.meta.dirname, '..');
const sources = globSync('src/**/*.ts', { cwd: root })
  .filter((path) => !/\.test\.ts$|\/(contract|fixture)[^/]*\.ts$/.test(path))
  .toSorted()
  .map((path) => ({ path, text: readFileSync(resolve(root, path), 'utf8') }));

const edges = layerEdges(sources, layers);
const ranks = ranksOf(edges);
const id = (name: string): string => name.replaceAll(/[^a-z]/g, '_');
const names = [...ranks.keys()].toSorted((a, b) => (ranks.get(b) ?? 0) - (ranks.get(a) ?? 0) || a.localeCompare(b));
const nodes = names.map((name) => `  ${id(name)}["${name}"]`);
const arrows = edges.map(({ from, to, typesOnly, count }) => `  ${id(from)} ${typesOnly ? '-.->' : '-->'}|${count}| ${id(to)}`);

writeFileSync(
  resolve(root, 'docs/layers.md'),
  `# The layers, drawn from the imports

Made by \`make drawing\` from ${sources.length} sources; a dotted arrow takes types only; the number counts imports. Ranks, from the top: ${names.map((name) => `${name} (${ranks.get(name)})`).join(', ')}.

\`\`\`mermaid
flowchart TD
${[...nodes, ...arrows].join('\n')}
\`\`\`
`,
);
