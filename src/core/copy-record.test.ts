import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wallMs } from '../base/units.ts';
import { resumeAt } from './copy-record.ts';
import type { CopyRecord, ResumeFacts } from './copy-record.ts';
import type { XvdEvent } from './types.ts';

const record: CopyRecord = { of: '5 import a.raw raw', bootId: 'b', mark: 'm', doneBytes: 100, ontoZeros: true, sinceEvent: 7 };
const facts: ResumeFacts = { of: record.of, bootId: 'b', mark: 'm', disk: 'vd:5', events: [], written: false };
const event = (type: string, subject: string, data: XvdEvent['data'] = {}): XvdEvent => ({ id: 8, time: wallMs(0), type, subject, cause: '', data });
const after = (...events: XvdEvent[]): number => resumeAt(record, { ...facts, events });

test('a copy goes on where it was, when nothing has changed', () => {
  assert.equal(resumeAt(record, facts), 100);
  assert.equal(resumeAt(null, facts), 0);
  const harmless = [event('import.ended', 'vd:5'), event('export.started', 'vd:5'), event('disk.refreshed', 'vd:5'), event('import.started', 'vd:6')];
  assert.equal(after(...harmless, event('vbd.attaching', '0/xvda@3', { source: 'vd:5', mode: 'r' })), 100);
});

test('it begins anew after another image, another boot, a writer, or when that is not known', () => {
  for (const other of [{ of: 'x' }, { bootId: 'c' }, { mark: 'n' }, { written: true }, { events: null }])
    assert.equal(resumeAt(record, { ...facts, ...other }), 0);
  assert.equal(after(event('vbd.attaching', '0/xvda@3', { source: 'vd:5', mode: 'w' })), 0);
  assert.equal(after(event('vbd.attaching', '0/xvda@3', { source: 'vd:6', mode: 'w' })), 100);
  assert.equal(after(event('import.started', 'vd:5')), 0);
  assert.equal(after(event('disk.recovered', 'vd:5')), 0);
  assert.equal(after(event('catalog.recovered', 'catalog')), 0);
});
