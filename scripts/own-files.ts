// A source that starts another source as a process or worker names it by `new URL('./x.ts', import.meta.url)`, on one line,
// and nothing else: the build makes an entry of it, and the reference then leads to its bundle.

import { basename, dirname } from 'node:path';

/** The relative paths of the sources that a source names so. */
export const ownFileReferences = (source: string): readonly string[] =>
  [...source.matchAll(/new URL\('(\.{1,2}\/[^']+\.ts)', import\.meta\.url\)/g)].map(match => match[1] ?? '');

/** `src/datapath/nbd/connection.ts` is `nbd-connection` in dist/: the folder keeps two files of one name apart. */
export const entryName = (path: string): string => (path.startsWith('src/') ? `${basename(dirname(path))}-${basename(path, '.ts')}` : basename(path, '.ts'));
