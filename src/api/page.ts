// The page: three files as they lie in web/. They hold nothing secret, so they are served without the token, which the page
// asks for and sends by itself. Only its own files may run in it: names in the catalog are chosen by others.

import { readFileSync } from 'node:fs';

export type PageFile = { readonly path: string; readonly type: string; readonly text: () => string };

const read = (file: URL) => (): string => readFileSync(file, 'utf8');

export const pageFiles: readonly PageFile[] = [
  { path: '/', type: 'text/html; charset=utf-8', text: read(new URL('../../web/index.html', import.meta.url)) },
  { path: '/page.js', type: 'text/javascript; charset=utf-8', text: read(new URL('../../web/page.js', import.meta.url)) },
  { path: '/page.css', type: 'text/css; charset=utf-8', text: read(new URL('../../web/page.css', import.meta.url)) },
];

export const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
} as const;
