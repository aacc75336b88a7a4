// The imports summed up by layer, and how high each layer stands. Pure.

import { posix } from 'node:path';
import { importsOf, layerOf, type Layer, type Source } from './imports.ts';

export type Edge = { readonly from: string; readonly to: string; readonly typesOnly: boolean; readonly count: number };

export function layerEdges(sources: readonly Source[], layers: readonly Layer[]): readonly Edge[] {
  const edges = new Map<string, Edge>();
  for (const { path, text } of sources) {
    const from = layerOf(path, layers)?.name;
    for (const { target, typesOnly } of importsOf(text)) {
      if (from === undefined || !target.startsWith('.')) continue;
      const to = layerOf(posix.join(posix.dirname(path), target), layers)?.name;
      if (to === undefined || to === from) continue;
      const before = edges.get(`${from} ${to}`);
      edges.set(`${from} ${to}`, { from, to, typesOnly: typesOnly && (before?.typesOnly ?? true), count: (before?.count ?? 0) + 1 });
    }
  }
  return [...edges.values()].toSorted((a, b) => a.from.localeCompare(b.from) || a.to.localeCompare(b.to));
}

/** 0 for what imports nothing, else one more than the highest that it imports: every arrow points down. Throws on a circle. */
export function ranksOf(edges: readonly Edge[]): ReadonlyMap<string, number> {
  const ranks = new Map<string, number>();
  const rank = (name: string, trail: readonly string[]): number => {
    if (trail.includes(name)) throw new Error(`circle of layers: ${[...trail, name].join(' -> ')}`);
    const known = ranks.get(name);
    if (known !== undefined) return known;
    const below = edges.filter(({ from }) => from === name).map(({ to }) => rank(to, [...trail, name]) + 1);
    ranks.set(name, Math.max(0, ...below));
    return Math.max(0, ...below);
  };
  for (const { from, to } of edges) for (const name of [from, to]) rank(name, []);
  return ranks;
}
