// Images in and out, through the daemon: one request that lasts as long as the copy, and beside it the question how far it is.

import type { Client } from '../api/client.ts';
import type { Changed, CopyInfo, CopyProgress, ExportOptions, ImportOptions, Warnings } from '../app/shapes.ts';
import type { Settings } from '../daemon/settings.ts';

export type CopyWork = {
  /** The copy stops; asked for again, it goes on where it was. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
};

export interface Copying {
  /** Needs the daemon. Paths are those of this host. DISK_TOO_SMALL, IMAGE_NAMES_FILES, SHARING_REFUSED, PROGRAM_FAILED. */
  importImage(options: ImportOptions, work?: CopyWork): Promise<CopyInfo & Changed & Warnings>;
  /** Needs the daemon. IMAGE_EXISTS unless forced, IMAGE_NO_SPACE, SHARING_REFUSED. */
  exportImage(options: ExportOptions, work?: CopyWork): Promise<CopyInfo & Changed & Warnings>;
  /** Needs the daemon. What is under way. */
  copies(): Promise<CopyProgress[]>;
}

const LOOK_MS = 250;

export function copyingOf(settings: Settings): Copying {
  const client = async (): Promise<Client> => (await import('../api/client.ts')).openClient(settings);
  const absolute = async (path: string): Promise<string> => (await import('node:path')).resolve(path);
  const copy = async (kind: 'import' | 'export', { disk, image, ...rest }: ImportOptions | ExportOptions, work: CopyWork = {}) => {
    const { call } = await client();
    const path = await absolute(image);
    const stop = work.onProgress === undefined ? () => undefined : follow(call, kind, path, work.onProgress);
    try {
      const body = { expert: settings.expert, ...rest, image: path };
      return await call<CopyInfo & Changed & Warnings>('POST', `/api/v1/disks/${encodeURIComponent(disk)}/${kind}`, body, work.signal);
    } finally {
      stop();
    }
  };
  return {
    importImage: (options, work) => copy('import', options, work),
    exportImage: (options, work) => copy('export', options, work),
    copies: async () => (await client()).call('GET', '/api/v1/copies'),
  };
}

function follow(call: Client['call'], kind: 'import' | 'export', image: string, tell: NonNullable<CopyWork['onProgress']>): () => void {
  const timer = setInterval(() => {
    call<CopyProgress[]>('GET', '/api/v1/copies').then(
      (copies) => {
        const mine = copies.find((copy) => copy.kind === kind && copy.image === image);
        if (mine !== undefined) tell(mine);
      },
      () => undefined, // the copy itself tells what is wrong
    );
  }, LOOK_MS);
  return () => clearInterval(timer);
}
