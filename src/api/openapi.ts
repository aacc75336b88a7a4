// OpenAPI 3.1, made from the table of routes.

import { z } from 'zod';
import { errorTable } from '../base/error.ts';
import type { Route } from './routes.ts';

export function openApi(routes: readonly Route[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) (paths[`/api/v1${route.path}`] ??= {})[route.method] = operation(route);
  paths['/api/v1/events'] = {
    get: {
      summary: 'events as Server-Sent Events, resumable with Last-Event-ID',
      responses: { 200: { description: 'a stream', content: { 'text/event-stream': {} } } },
    },
  };
  const problem = {
    type: 'object',
    required: ['type', 'title', 'status', 'detail', 'code', 'fix'],
    properties: {
      type: { type: 'string' },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string' },
      code: { enum: Object.keys(errorTable) },
      fix: { type: 'string' },
    },
  };
  return {
    openapi: '3.1.0',
    info: { title: 'xvd', version: '1', description: 'Virtual disks that end by themselves and are never shared by accident.' },
    paths,
    components: { schemas: { Problem: problem }, securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
  };
}

function operation(route: Route): Record<string, unknown> {
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  const inQuery = Object.entries(route.query.shape).map(([name, schema]) => ({
    name,
    in: 'query',
    required: false,
    schema: schemaOf(schema as z.ZodType, 'input'),
  }));
  return {
    summary: route.summary,
    parameters: [...inPath, ...inQuery],
    ...(route.body === null ? {} : { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(route.body, 'input') } } } }),
    responses: {
      200: { description: 'done', content: { 'application/json': { schema: schemaOf(route.answer, 'output') } } },
      default: { description: 'a problem', content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } } },
    },
  };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): unknown {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Record<string, unknown>;
  void $schema;
  return rest;
}
