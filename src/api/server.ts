// The HTTP API as a hono application: routes from the table, problem documents, events, metrics. No sockets here: the daemon
// listens, and tests call it directly.

import { Hono } from 'hono';
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { z } from 'zod';
import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { STATE_HEADER, stateHeader } from './client.ts';
import { eventStream } from './event-stream.ts';
import type { Changes } from './event-stream.ts';
import { idempotency } from './idempotency.ts';
import { metricsOf } from './metrics.ts';
import { openApi } from './openapi.ts';
import { pageFiles, pageHeaders } from './page.ts';
import { problemOf } from './problem.ts';
import { routes } from './routes.ts';
import type { Route, Setup } from './routes.ts';

export type ApiOptions = Setup &
  Changes & {
    /** null = no token is asked for (the Unix socket, which only its owner can open). */
    readonly token: string | null;
    /** Of the catalog; who means another is refused. */
    readonly stateFolder: string;
    readonly log: (event: string, details: Readonly<Record<string, unknown>>) => void;
  };

export const API = '/api/v1';

export function makeApi(options: ApiOptions): Hono {
  const app = new Hono();
  const problem = (context: Context, error: unknown): Response => {
    const { status, body } = problemOf(error);
    if (status >= 500) options.log('api.failed', { path: context.req.path, code: body['code'], reason: body['detail'] });
    return context.json(body, status as ContentfulStatusCode, { 'content-type': 'application/problem+json' });
  };
  app.onError((error, context) => problem(context, error));
  app.notFound((context) => problem(context, new XvdError('ROUTE_NOT_FOUND', `there is no ${context.req.method} ${context.req.path}`)));
  for (const { path, type, text } of pageFiles) app.get(path, (context) => context.body(text(), 200, { ...pageHeaders, 'content-type': type }));
  app.use(async (context, next) => {
    if (options.token !== null && context.req.path !== '/healthz' && !authorised(context.req.header('authorization'), options.token)) {
      return problem(context, new XvdError('NOT_PERMITTED', 'the token is missing or wrong', { fix: 'Send it as `Authorization: Bearer …`.' }));
    }
    return next();
  });
  app.use(async (context, next) => {
    const meant = context.req.header(STATE_HEADER);
    if (meant === undefined || meant === stateHeader(options.stateFolder)) return next();
    return problem(
      context,
      new XvdError('DAEMON_NOT_RUNNING', `the daemon here serves the catalog of ${options.stateFolder}, and another one is meant`, {
        fix: 'Set XVD_RUN and XVD_STATE to those of one daemon, or start one for this catalog with an XVD_RUN of its own.',
      }),
    );
  });
  const answered = idempotency();
  for (const route of routes)
    app.on(route.method.toUpperCase(), `${API}${route.path.replace(/\{(\w+)\}/g, ':$1')}`, (context) => answer(context, route, options, answered));
  app.get(`${API}/events`, (context) => eventStream(context, options.system, options));
  app.get(`${API}/openapi.json`, (context) => context.json(openApi(routes)));
  app.get('/healthz', (context) => context.json({ status: 'ok' }));
  app.get('/metrics', async (context) =>
    context.body(await metricsOf(options.system), 200, { 'content-type': 'application/openmetrics-text; version=1.0.0; charset=utf-8' }),
  );
  return app;
}

/** Compared in the same time whatever is sent. */
function authorised(header: string | undefined, token: string): boolean {
  const sent = header ?? '';
  const wanted = `Bearer ${token}`;
  let different = sent.length ^ wanted.length;
  for (let at = 0; at < wanted.length; at += 1) different |= wanted.charCodeAt(at) ^ (at < sent.length ? sent.charCodeAt(at) : 0);
  return different === 0;
}

async function answer(context: Context, route: Route, options: ApiOptions, answered: ReturnType<typeof idempotency>): Promise<Response> {
  const query = validated(route.query, context.req.query(), 'query', 'USAGE');
  const text = route.body === null ? '' : await bodyText(context);
  const body = route.body === null ? null : validated(route.body, parse(text), 'body', 'VALUE_INVALID');
  const key = route.method === 'post' ? context.req.header('idempotency-key') : undefined;
  const run = (): Promise<unknown> => route.handle(options, context.req.param(), query, body, () => context.req.raw.signal);
  const value = key === undefined ? await run() : await answered(key, `${context.req.path}\n${text}`, run);
  return context.json(value as object);
}

async function bodyText(context: Context): Promise<string> {
  const type = context.req.header('content-type') ?? '';
  const tooLong = new XvdError('USAGE', `the body has more than ${limits.requestBodyBytes} bytes`);
  if (Number(context.req.header('content-length') ?? 0) > limits.requestBodyBytes) throw tooLong;
  const text = await context.req.text();
  if (text.length > limits.requestBodyBytes) throw tooLong;
  if (text !== '' && !/^application\/json\b/i.test(type))
    throw new XvdError('USAGE', `the body is '${type}', and JSON is wanted`, { fix: 'Send Content-Type: application/json.' });
  return text;
}

function parse(text: string): unknown {
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch (error) {
    throw new XvdError('USAGE', 'the body is no JSON', { cause: error, fix: 'Send a JSON object.' });
  }
}

function validated<T extends z.ZodType>(schema: T, value: unknown, what: string, code: 'USAGE' | 'VALUE_INVALID'): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path.join('.') ?? '';
  const fix = path === 'expiresInSeconds' ? 'Give seconds above 0; leave it out or give null for `never`.' : `GET ${API}/openapi.json tells what is taken.`;
  throw new XvdError(code, `${what}${path === '' ? '' : ` ${path}`}: ${issue?.message ?? 'malformed'}`, { fix });
}
