// The table of errors, its page in docs/, and what the faces make of an error.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorBody, errorTable, XvdError, type ErrorCode } from './error.ts';

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

/** code -> [exit, HTTP, meaning, remedy] as the page has it. */
function documented(text: string): Map<string, readonly string[]> {
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(
    rows.map((line) => {
      const [code = '', ...cells] = line.slice(2, -2).split(' | ');
      return [code.replaceAll('`', ''), cells];
    }),
  );
}

test('docs/errors.md and the table list the same codes, with the same exit, HTTP status, meaning and remedy', () => {
  const table = new Map(Object.entries(errorTable).map(([code, { exit, http, title, fix }]) => [code, [String(exit), String(http), title, fix]]));
  const found = documented(page);
  for (const [code, cells] of table) assert.deepEqual(found.get(code), cells, `${code} in docs/errors.md`);
  for (const code of found.keys()) assert.ok(table.has(code), `${code} of docs/errors.md is in the table`);
});

test('an exit status has the HTTP statuses of the contract', () => {
  const allowed: Readonly<Record<number, readonly number[]>> = {
    1: [500],
    2: [400, 422],
    3: [404],
    4: [409],
    5: [507],
    6: [409],
    7: [502],
    8: [403, 501],
    9: [500],
  };
  for (const [code, { exit, http }] of Object.entries(errorTable)) assert.ok(allowed[exit]?.includes(http), `${code}: exit ${exit}, HTTP ${http}`);
});

test('every row has a meaning without full stop and a remedy that is a sentence', () => {
  for (const [code, { title, fix }] of Object.entries(errorTable)) {
    assert.match(title, /^[a-z].*[^.]$/, code);
    assert.match(fix, /^[`A-Z].*[.]$/, code);
  }
});

test('an error without a remedy of its own has that of the table, and keeps its cause', () => {
  const cause = new Error('why');
  const error = new XvdError('POOL_FULL', 'no room for 5 GiB', { cause });
  assert.equal(error.fix, errorTable.POOL_FULL.fix);
  assert.equal(error.exit, 5);
  assert.equal(error.cause, cause);
  assert.equal(new XvdError('POOL_FULL', 'no room', { fix: 'Wait.' }).fix, 'Wait.');
});

test('the body of an error has code, message, fix and its details, and no stack', () => {
  const body = errorBody(new XvdError('SHARING_REFUSED', 'two writers', { details: { level: 2, conflicts: [] } }));
  assert.deepEqual(body, { code: 'SHARING_REFUSED', message: 'two writers', fix: errorTable.SHARING_REFUSED.fix, level: 2, conflicts: [] });
});

test('what is no XvdError is INTERNAL, whatever was thrown', () => {
  for (const thrown of [new Error('lost'), 'lost']) {
    const code: ErrorCode = errorBody(thrown).code;
    assert.equal(code, 'INTERNAL');
    assert.equal(errorBody(thrown).message, 'lost');
  }
});

test('an XvdError is known by what it is, also when another copy of the class made it', () => {
  const other = Object.assign(new Error('the pool is full'), { name: 'XvdError', code: 'POOL_FULL', fix: 'Format a device.', details: {} });
  assert.ok(other instanceof XvdError);
  assert.equal(errorBody(other).code, 'POOL_FULL');
  assert.equal(errorBody(Object.assign(new Error('x'), { name: 'XvdError', code: 'NOTHING' })).code, 'INTERNAL');
  assert.ok(!(new Error('x') instanceof XvdError));
});
