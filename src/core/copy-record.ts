// How far the copy of an image has come, and whether another may go on from there. Pure.
//
// Going on is right only if nothing has changed on either side: the same image, the same boot (what was copied may only be in
// memory), and nobody who wrote to the disk since. When in doubt the copy begins anew.

import type { XvdEvent } from './types.ts';

export type CopyRecord = {
  /** `ID import PATH FORMAT` */
  readonly of: string;
  readonly bootId: string;
  /** Of the image that is read, or of the one that is being written. */
  readonly mark: string;
  readonly doneBytes: number;
  /** The disk read as zeros when the copy began. */
  readonly ontoZeros: boolean;
  /** The event that began it: what happened after is looked at. */
  readonly sinceEvent: number;
};

export type ResumeFacts = {
  readonly of: string;
  readonly bootId: string;
  readonly mark: string;
  readonly disk: string;
  /** Everything after the record's event; null when it is not kept any more. */
  readonly events: readonly XvdEvent[] | null;
  /** Somebody has the disk attached for writing now. */
  readonly written: boolean;
};

/** What happens to a disk and leaves its bytes alone. */
const harmless = /^(import\.(ended|failed)|export\..+|disk\.(refreshed|restored|expired|expiring|deleted))$/;

export function resumeAt(record: CopyRecord | null, facts: ResumeFacts): number {
  if (record === null || facts.events === null || facts.written) return 0;
  const same = record.of === facts.of && record.bootId === facts.bootId && record.mark === facts.mark;
  return same && !facts.events.some((event) => mayHaveWritten(event, facts.disk)) ? record.doneBytes : 0;
}

function mayHaveWritten({ type, subject, data }: XvdEvent, disk: string): boolean {
  if (type === 'vbd.attaching') return data['source'] === disk && data['mode'] !== 'r';
  if (type.startsWith('catalog.') || type === 'device.adopted') return true;
  return subject === disk && !harmless.test(type);
}
