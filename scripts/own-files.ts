// A source names a file of the checkout by `new URL('./x', import.meta.url)`, on one line and in these words. Another source,
// which it starts as a process or worker, becomes an entry of the build and the reference leads to its bundle; any other file
// stays where it is and the reference is made to lead there from dist/.

import { basename, dirname, posix } from 'node:path';

/** The relative paths of the sources that a source names so. */
export const ownFileReferences = (source: string): readonly string[] =>
  [...source.matchAll(/new URL\('(\.{1,2}\/[^']+\.ts)', import\.meta\.url\)/g)].map((match) => match[1] ?? '');

const anyReference = /new URL\('(\.{1,2}\/[^']+)', import\.meta\.url\)/g;

/** The text of the source at `path` (from the root of the checkout), as it must be in dist/. */
export const ownFilesFromDist = (path: string, text: string): string =>
  text.replaceAll(anyReference, (_, target: string) => {
    const file = posix.join(posix.dirname(path), target);
    return `new URL('${target.endsWith('.ts') ? `./${entryName(file)}.cjs` : posix.relative('dist', file)}', import.meta.url)`;
  });

/** `src/datapath/nbd/connection.ts` is `nbd-connection` in dist/: the folder keeps two files of one name apart. */
export const entryName = (path: string): string => (path.startsWith('src/') ? `${basename(dirname(path))}-${basename(path, '.ts')}` : basename(path, '.ts'));
