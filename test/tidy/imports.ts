// Reads the imports of a source, and judges them against a table of layers. Pure: sources in, problems out.

import { posix } from 'node:path';

export type Source = { readonly path: string; readonly text: string };
export type Import = { readonly target: string; readonly typesOnly: boolean };

/** A layer is a folder (or the files that a pattern names); it may always import itself. */
export type Layer = {
  readonly name: string;
  readonly holds: RegExp;
  /** Names of layers, or of layers whose types alone may be taken: `app (types)`. */
  readonly imports: readonly string[];
  readonly node: boolean;
  readonly packages: readonly string[];
};

export const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');

/** Static, dynamic and re-exporting imports; `new URL('./x.ts', import.meta.url)` starts a process and is none. */
export function importsOf(text: string): readonly Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  for (const [, keyword, clause = '', target = ''] of code.matchAll(/^\s*(import|export)\b([^'";]*?)\bfrom\s*'([^']+)'/gm)) {
    const names = /^\s*\{([^}]*)\}\s*$/
      .exec(clause)?.[1]
      ?.split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
    const inlineTypes = keyword === 'import' && names !== undefined && names.length > 0 && names.every((name) => name.startsWith('type '));
    found.push({ target, typesOnly: /^\s*type\b/.test(clause) || inlineTypes });
  }
  for (const [, target = ''] of code.matchAll(/^\s*import\s*'([^']+)'/gm)) found.push({ target, typesOnly: false });
  // `typeof import('x')` and `import('x').Type` in a type position can't be told apart cheaply: all count as values.
  for (const [, target = ''] of code.matchAll(/\bimport\(\s*'([^']+)'/g)) found.push({ target, typesOnly: false });
  return found;
}

const packageName = (target: string): string => target.split('/', target.startsWith('@') ? 2 : 1).join('/');

export function layerOf(path: string, layers: readonly Layer[]): Layer | undefined {
  return layers.find((layer) => layer.holds.test(path));
}

/** One line for each import that the table does not allow, and for each source that belongs to no layer. */
export function importProblems(sources: readonly Source[], layers: readonly Layer[]): readonly string[] {
  return sources.flatMap((source) => {
    const layer = layerOf(source.path, layers);
    if (layer === undefined) return [`${source.path} belongs to no layer of the import table`];
    return importsOf(source.text).flatMap((found) => {
      const problem = judge(source.path, layer, found, layers);
      return problem === null ? [] : [`${source.path} (${layer.name}) imports ${found.target}: ${problem}`];
    });
  });
}

function judge(path: string, layer: Layer, { target, typesOnly }: Import, layers: readonly Layer[]): string | null {
  if (target.startsWith('node:')) return layer.node ? null : 'no module of Node belongs there';
  if (!target.startsWith('.')) {
    const name = packageName(target);
    if (layer.packages.includes(name)) return null;
    return typesOnly && layer.packages.includes(`${name} (types)`) ? null : 'not a package of that layer';
  }
  if (!/\.(ts|tsx)$/.test(target)) return 'relative imports end in .ts';
  const imported = posix.join(posix.dirname(path), target);
  if (imported.endsWith('.test.ts')) return 'a test is imported';
  const other = layerOf(imported, layers);
  if (other === undefined) return 'outside of the table';
  if (other === layer || layer.imports.includes(other.name)) return null;
  return typesOnly && layer.imports.includes(`${other.name} (types)`) ? null : `${layer.name} may not import ${other.name}`;
}

/** The first circle of imports, types included, as a path that ends where it starts; null when there is none. */
export function importCycle(sources: readonly Source[]): readonly string[] | null {
  const known = new Map(sources.map((source) => [source.path, source]));
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): readonly string[] | null => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    const source = known.get(path);
    if (done.has(path) || source === undefined) return null;
    for (const { target } of importsOf(source.text)) {
      if (!target.startsWith('.')) continue;
      const cycle = visit(posix.join(posix.dirname(path), target), [...trail, path]);
      if (cycle !== null) return cycle;
    }
    done.add(path);
    return null;
  };
  for (const { path } of sources) {
    const cycle = visit(path, []);
    if (cycle !== null) return cycle;
  }
  return null;
}
