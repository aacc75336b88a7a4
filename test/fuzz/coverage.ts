// Which blocks of the data path a run went through, and about how often: V8's precise coverage of this process.

import { Session } from 'node:inspector';

type Taken = {
  readonly result: readonly { url: string; functions: readonly { ranges: readonly { startOffset: number; endOffset: number; count: number }[] }[] }[];
};

export type Coverage = Disposable & {
  /** Of what ran since the last call: is there anything that was never remembered? It costs some 20 ms. */
  isNew(): boolean;
  /** The same, and remembers it. */
  remember(): boolean;
  readonly known: () => number;
};

export function openCoverage(of: RegExp): Coverage {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const seen = new Set<string>();
  const take = (): Set<string> => {
    const features = new Set<string>();
    session.post('Profiler.takePreciseCoverage', (_error: Error | null, taken: Taken) => {
      for (const { url, functions } of taken.result.filter((script) => of.test(script.url))) {
        for (const { startOffset, endOffset, count } of functions.flatMap(({ ranges }) => ranges)) {
          if (count > 0) features.add(`${url}:${startOffset}:${endOffset}:${Math.ceil(Math.log2(count))}`);
        }
      }
    });
    return features;
  };
  return {
    isNew: () => !take().isSubsetOf(seen),
    remember() {
      const before = seen.size;
      for (const feature of take()) seen.add(feature);
      return seen.size > before;
    },
    known: () => seen.size,
    [Symbol.dispose]() {
      session.post('Profiler.stopPreciseCoverage');
      session.disconnect();
    },
  };
}
