// The routes as data: method, path, what is taken, what is given, which use case. The server and OpenAPI are made from it.

import { z } from 'zod';
import { adoptDevice } from '../app/adopt-device.ts';
import { attachVbd } from '../app/attach-vbd.ts';
import { checkAttachments } from '../app/check-attachments.ts';
import { backupCatalog } from '../app/backup-catalog.ts';
import { checkPool } from '../app/check-pool.ts';
import { copiesUnderWay } from '../app/copies.ts';
import { exportImage, importImage } from '../app/copy-image.ts';
import { createDisk } from '../app/create-disk.ts';
import { deleteDisk } from '../app/delete-disk.ts';
import { detachVbd } from '../app/detach-vbd.ts';
import { extentsOf } from '../app/extents-of.ts';
import { formatDevice, unformatDevice } from '../app/format-device.ts';
import { importLegacy } from '../app/import-legacy.ts';
import { listDevices } from '../app/list-devices.ts';
import { listDisks } from '../app/list-disks.ts';
import { poolMap } from '../app/pool-map.ts';
import { recoverCatalog } from '../app/recover-catalog.ts';
import { refreshDisk } from '../app/refresh-disk.ts';
import { restoreDisk } from '../app/restore-disk.ts';
import { showDisk } from '../app/show-disk.ts';
import { consoleOf, listDomains, startDomain, stopDomain } from '../app/start-domain.ts';
import type { CatalogSystem, System } from '../app/system.ts';
import { vbds } from '../app/vbds.ts';
import type { ExpertLevel } from '../core/types.ts';
import { answer, body, query } from './schemas.ts';

export type Setup = {
  readonly system: System;
  /** For what mends a catalog or device that the labels contradict. */
  readonly unguarded: CatalogSystem;
  readonly expert: ExpertLevel;
};
type Params = Readonly<Record<string, string>>;

export type Route = {
  readonly method: 'get' | 'post' | 'delete';
  /** As OpenAPI writes it, below /api/v1. */
  readonly path: string;
  readonly summary: string;
  readonly query: z.ZodObject;
  readonly body: z.ZodType | null;
  readonly answer: z.ZodType;
  /** `gone` tells that the one who asked has gone; a request costs less when it is not called. */
  readonly handle: (setup: Setup, params: Params, query: unknown, body: unknown, gone: () => AbortSignal) => Promise<unknown>;
};

type Taken<Q extends z.ZodObject, B extends z.ZodType | null> = {
  readonly query: Q;
  readonly body: B;
  readonly handle: (
    setup: Setup,
    params: Params,
    query: z.infer<Q>,
    body: B extends z.ZodType ? z.infer<B> : null,
    gone: () => AbortSignal,
  ) => Promise<unknown>;
} & Pick<Route, 'method' | 'path' | 'summary' | 'answer'>;

/** The handler sees what the schemas let through. */
const route = <Q extends z.ZodObject, B extends z.ZodType | null>(taken: Taken<Q, B>): Route => taken as unknown as Route;

type Lease = { readonly expiresInSeconds?: number | null | undefined };
const lease = ({ expiresInSeconds }: Lease): { expiresInMs: number | null } => ({
  expiresInMs: expiresInSeconds === undefined || expiresInSeconds === null ? null : Math.round(expiresInSeconds * 1000),
});
const given = <T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as never;
const param = (params: Params, name: string): string => params[name] ?? '';

export const routes: readonly Route[] = [
  route({
    method: 'get',
    path: '/disks',
    summary: 'disks: living ones, expired ones, or all',
    query: query.list,
    body: null,
    answer: z.array(answer.disk),
    handle: ({ system }, _, { after, ...rest }) => listDisks(system, { ...given(rest), ...(after === undefined ? {} : { afterId: after }) }),
  }),
  route({
    method: 'post',
    path: '/disks',
    summary: 'make a disk',
    query: query.none,
    body: body.create,
    answer: answer.disk,
    handle: ({ system }, _, __, { expiresInSeconds, ...rest }) => createDisk(system, { ...given(rest), ...lease({ expiresInSeconds }) }),
  }),
  route({
    method: 'get',
    path: '/disks/{id}',
    summary: 'one disk',
    query: query.none,
    body: null,
    answer: answer.disk,
    handle: ({ system }, params) => showDisk(system, param(params, 'id')),
  }),
  route({
    method: 'delete',
    path: '/disks/{id}',
    summary: 'end the lease of a disk now',
    query: query.force,
    body: null,
    answer: answer.disk,
    handle: ({ system }, params, { force }) => deleteDisk(system, { disk: param(params, 'id'), force: force === 'true' }),
  }),
  route({
    method: 'post',
    path: '/disks/{id}/refresh',
    summary: 'set when a lease ends',
    query: query.none,
    body: body.lease,
    answer: answer.disk,
    handle: ({ system }, params, _, taken) => refreshDisk(system, { disk: param(params, 'id'), ...lease(taken) }),
  }),
  route({
    method: 'post',
    path: '/disks/{id}/restore',
    summary: 'bring an expired disk back',
    query: query.none,
    body: body.lease,
    answer: answer.disk,
    handle: ({ system }, params, _, taken) => restoreDisk(system, { disk: param(params, 'id'), ...lease(taken) }),
  }),
  route({
    method: 'get',
    path: '/disks/{id}/extents',
    summary: 'the extents of a disk, in order',
    query: query.none,
    body: null,
    answer: z.array(answer.extent),
    handle: ({ system }, params) => extentsOf(system, `vd:${param(params, 'id').replace(/^vd:/, '')}`),
  }),
  route({
    method: 'post',
    path: '/disks/{id}/import',
    summary: 'copy an image of this host into a disk; answers when it is done, and stops when the request is dropped',
    query: query.none,
    body: body.import,
    answer: answer.copy,
    handle: ({ system, expert }, params, _, taken, gone) => importImage(system, { expert, ...given(taken), disk: param(params, 'id') }, { signal: gone() }),
  }),
  route({
    method: 'post',
    path: '/disks/{id}/export',
    summary: 'copy a disk into an image on this host; answers when it is done, and stops when the request is dropped',
    query: query.none,
    body: body.export,
    answer: answer.copy,
    handle: ({ system, expert }, params, _, taken, gone) => exportImage(system, { expert, ...given(taken), disk: param(params, 'id') }, { signal: gone() }),
  }),
  route({
    method: 'get',
    path: '/copies',
    summary: 'imports and exports that are under way',
    query: query.none,
    body: null,
    answer: z.array(answer.copyProgress),
    handle: async ({ system }) => copiesUnderWay(system),
  }),
  route({
    method: 'get',
    path: '/devices',
    summary: 'the devices of the pool',
    query: query.none,
    body: null,
    answer: z.array(answer.device),
    handle: ({ system }) => listDevices(system),
  }),
  route({
    method: 'get',
    path: '/map',
    summary: 'who has what of each device, in runs of extents',
    query: query.none,
    body: null,
    answer: z.array(answer.map),
    handle: async ({ system }) => (await poolMap(system)).devices,
  }),
  route({
    method: 'post',
    path: '/devices',
    summary: 'add a device to the pool',
    query: query.none,
    body: body.format,
    answer: answer.device,
    handle: ({ system }, _, __, taken) => formatDevice(system, given(taken)),
  }),
  route({
    method: 'post',
    path: '/devices/unformat',
    summary: 'take an unused device out of the pool',
    query: query.none,
    body: body.unformat,
    answer: answer.unformat,
    handle: ({ system }, _, __, taken) => unformatDevice(system, taken),
  }),
  route({
    method: 'post',
    path: '/devices/adopt',
    summary: 'bind a pool device to the one that replaced it',
    query: query.none,
    body: body.adopt,
    answer: answer.device,
    handle: ({ unguarded }, _, __, taken) => adoptDevice(unguarded, given(taken)),
  }),
  route({
    method: 'post',
    path: '/backup',
    summary: 'copy the catalog into a new file of this host, online',
    query: query.none,
    body: body.backup,
    answer: answer.backup,
    handle: ({ system }, _, __, taken) => backupCatalog(system, taken),
  }),
  route({
    method: 'post',
    path: '/recover',
    summary: 'go back to a backup, before an event, or to what the labels of the devices know; a catalog that cannot be read has no daemon',
    query: query.none,
    body: body.recover,
    answer: answer.recover,
    handle: ({ unguarded }, _, __, taken) => recoverCatalog(unguarded, given(taken)),
  }),
  route({
    method: 'post',
    path: '/import-legacy',
    summary: 'take over a database of 2004 into an unused catalog',
    query: query.none,
    body: body.importLegacy,
    answer: answer.importLegacy,
    handle: ({ unguarded }, _, __, taken) => importLegacy(unguarded, given(taken)),
  }),
  route({
    method: 'get',
    path: '/vbds',
    summary: 'what is attached',
    query: query.vbds,
    body: null,
    answer: z.array(answer.vbd),
    handle: ({ system }, _, taken) => vbds(system, given(taken)),
  }),
  route({
    method: 'post',
    path: '/vbds',
    summary: 'attach a disk or device to a domain',
    query: query.none,
    body: body.attach,
    answer: answer.vbd,
    handle: ({ system, expert }, _, __, { mode, ...rest }) => attachVbd(system, { expert, ...given(rest), mode: mode === 'r' ? 'r' : 'w' }),
  }),
  route({
    method: 'delete',
    path: '/vbds/{domain}/{target}',
    summary: 'detach a target from a domain',
    query: query.detach,
    body: null,
    answer: answer.vbd,
    handle: ({ system }, params, { force, ...rest }) =>
      detachVbd(system, { domain: param(params, 'domain'), target: param(params, 'target'), force: force === 'true', ...given(rest) }),
  }),
  route({
    method: 'get',
    path: '/domains',
    summary: 'the domains of this host',
    query: query.none,
    body: null,
    answer: z.array(answer.domain),
    handle: ({ system }) => listDomains(system),
  }),
  route({
    method: 'post',
    path: '/domains',
    summary: 'start a domain from its description',
    query: query.none,
    body: body.startDomain,
    answer: answer.domain,
    handle: ({ system, expert }, _, __, taken) => startDomain(system, taken.description, { expert: taken.expert ?? expert }),
  }),
  route({
    method: 'delete',
    path: '/domains/{name}',
    summary: 'stop a domain',
    query: query.force,
    body: null,
    answer: answer.domain,
    handle: ({ system }, params, { force }) => stopDomain(system, { name: param(params, 'name'), force: force === 'true' }),
  }),
  route({
    method: 'get',
    path: '/domains/{name}/console',
    summary: 'where the console of a domain is',
    query: query.none,
    body: null,
    answer: answer.console,
    handle: ({ system }, params) => consoleOf(system, { name: param(params, 'name') }),
  }),
  route({
    method: 'get',
    path: '/check',
    summary: 'check the catalog, the devices and what is attached',
    query: query.check,
    body: null,
    answer: answer.check,
    handle: async ({ system }) => ({ problems: [...(await checkPool(system)).problems, ...(await checkAttachments(system)).problems] }),
  }),
  route({
    method: 'post',
    path: '/check',
    summary: 'check the catalog, the devices and what is attached; repair mends what needs no guess, acceptClock believes the clock from here on',
    query: query.none,
    body: body.fullCheck,
    answer: answer.check,
    handle: async ({ system, unguarded }, _, __, { repair = false, acceptClock = false }) => ({
      problems: [...(await checkPool(unguarded, { repair, acceptClock })).problems, ...(await checkAttachments(system, { repair })).problems],
    }),
  }),
  route({
    method: 'post',
    path: '/check/attachments',
    summary: 'what is attached, held against what the hypervisors and data paths have; repair mends it',
    query: query.none,
    body: body.check,
    answer: answer.check,
    handle: ({ system }, _, __, { repair }) => checkAttachments(system, { repair: repair === true }),
  }),
];
