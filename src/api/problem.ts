// Errors as problem documents (RFC 9457), with the code of the error table.

import { errorBody, errorTable } from '../base/error.ts';

export type Problem = { readonly status: number; readonly body: Readonly<Record<string, unknown>> };

export function problemOf(error: unknown): Problem {
  const { code, message, fix, ...details } = errorBody(error);
  const { http, title } = errorTable[code];
  return { status: http, body: { type: `urn:xvd:error:${code}`, title, status: http, detail: message, code, fix, ...details } };
}
