// Images in and out by the built command, held against qemu-img: content, holes, refusals, and copies that are cut off.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd } from './built-xvd.ts';

const MIB = 2 ** 20;
const bin = resolve(import.meta.dirname, '../../bin');

async function must(program: string, ...words: readonly string[]): Promise<string> {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => void (said += chunk.toString()));
  assert.deepEqual(await once(child, 'close'), [0, null], `${program} ${words.join(' ')}: ${said}`);
  return said;
}

/** A raw image with holes, and a MiB that is told apart at each of those places. */
function makeImage(path: string, sizeBytes: number, ...filledMib: readonly number[]): void {
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  const fd = openSync(path, 'r+');
  for (const at of filledMib) writeSync(fd, Buffer.alloc(MIB, `MiB ${at};`), 0, MIB, at * MIB);
  closeSync(fd);
}

const allocatedBytes = (path: string): number => statSync(path).blocks * 512;

async function setUp(xvd: BuiltXvd): Promise<string> {
  await xvd.format();
  await xvd.serve();
  const image = join(xvd.folder, 'source.raw');
  makeImage(image, 64 * MIB, 3, 40);
  return image;
}

test('what goes in comes out, in every format that is written; holes stay holes both ways', async (t) => {
  const xvd = builtXvd(t);
  const image = await setUp(xvd);
  await xvd.json('create', '64M', '--name', 'web');
  const before = allocatedBytes(xvd.pool);
  const into = await xvd.json('import', image, 'web');
  assert.deepEqual(into, { disk: 'vd:1', image, format: 'raw', sizeBytes: 64 * MIB, resumedAtBytes: 0, changed: true, warnings: [] });
  assert.ok(allocatedBytes(xvd.pool) - before < 4 * MIB, 'zeros are not written to a clean disk');
  for (const [format, driver] of Object.entries({ raw: 'raw', qcow2: 'qcow2', vmdk: 'vmdk', vhd: 'vpc', vhdx: 'vhdx', vdi: 'vdi', qed: 'qed' })) {
    const out = join(xvd.folder, `out.${format}`);
    const said = await xvd.json('export', 'vd:1', out);
    assert.deepEqual([said['format'], said['sizeBytes']], [format, 64 * MIB]);
    assert.ok(allocatedBytes(out) < 24 * MIB, `${format}: holes of the disk are holes of the image`);
    assert.equal(statSync(out).mode & 0o077, 0, 'for its owner only');
    await must('qemu-img', 'compare', '-f', 'raw', '-F', driver, image, out);
  }
  const byHttp = join(xvd.folder, 'by-http.raw');
  assert.equal((await xvd.ask('POST', '/api/v1/disks/web/export', { body: { image: byHttp } })).status, 200);
  await must('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, byHttp);
  assert.equal((await xvd.ask('POST', '/api/v1/disks/web/export', { body: { image: 'by-http.raw', force: true } })).status, 422, 'from the root');
  assert.equal((await xvd.ask('POST', '/api/v1/disks/web/export', { body: { image: byHttp } })).status, 409, 'it exists');
  const again = join(xvd.folder, 'again.img');
  for (const format of ['vmdk', 'vhd']) {
    await xvd.json('create', '64M', '--name', `from-${format}`, '--no-wipe');
    assert.equal((await xvd.json('import', join(xvd.folder, `out.${format}`), `from-${format}`))['format'], format);
    await xvd.json('export', `from-${format}`, again, '--force');
    await must('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, again);
  }
  assert.deepEqual(
    readdirSync(xvd.folder).filter((name) => name.includes('part')),
    [],
  );
  assert.deepEqual(await xvd.json('vbds'), []);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('behind a smaller image the disk is zeros, whatever it was; an image of an odd size goes in', async (t) => {
  const xvd = builtXvd(t);
  const image = await setUp(xvd);
  await xvd.json('create', '64M');
  await xvd.json('import', image, '1');
  const odd = join(xvd.folder, 'odd.img');
  writeFileSync(odd, Buffer.alloc(100_001, 7));
  assert.equal((await xvd.json('import', odd, '1'))['sizeBytes'], 100_352);
  const out = join(xvd.folder, 'out.raw');
  await xvd.json('export', '1', out);
  truncateSync(odd, 64 * MIB);
  await must('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', odd, out);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('what does not fit, is no image, or names other files is refused, and nothing is changed', async (t) => {
  const xvd = builtXvd(t);
  await setUp(xvd);
  await xvd.json('create', '8M', '--name', 'small');
  await xvd.json('create', '8M', '--name', 'old');
  await xvd.json('delete', 'old');
  const file = (name: string): string => join(xvd.folder, name);
  const tooLarge = await xvd.refused(5, 'DISK_TOO_SMALL', 'import', 'source.raw', 'small');
  assert.match(String(tooLarge['message']), /67108864.*8388608/);
  await xvd.refused(3, 'FILE_NOT_FOUND', 'import', 'nothing.raw', 'small');
  await xvd.refused(3, 'DISK_NOT_FOUND', 'import', 'source.raw', 'nobody');
  await xvd.refused(6, 'DISK_EXPIRED', 'import', 'source.raw', 'vd:2');
  await xvd.refused(6, 'DISK_EXPIRED', 'export', 'vd:2', 'out.raw');
  await xvd.refused(2, 'VALUE_INVALID', 'import', 'state', 'small');
  await xvd.refused(2, 'VALUE_INVALID', 'import', 'source.raw', 'small', '--format', 'ext4');
  await xvd.refused(2, 'VALUE_INVALID', 'export', 'small', 'out.dmg');
  await xvd.refused(2, 'VALUE_INVALID', 'export', 'small', '/dev/null', '--force');
  await xvd.refused(3, 'FILE_NOT_FOUND', 'export', 'small', 'no/folder/out.raw');
  writeFileSync(file('garbage.qcow2'), 'no image at all');
  await xvd.refused(7, 'PROGRAM_FAILED', 'import', 'garbage.qcow2', 'small');
  await xvd.refused(6, 'IMAGE_EXISTS', 'export', 'small', 'garbage.qcow2');
  await xvd.refused(4, 'DEVICE_OVERLAPS_POOL', 'export', 'small', 'pool.img', '--force');
  await xvd.json('create', '1M', '--name', 'tiny');
  await xvd.refused(4, 'IMAGE_NAMES_FILES', 'import', await withBacking(xvd), 'small');
  await must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `data_file=${file('data')},data_file_raw=on`, file('data.qcow2'), '1M');
  assert.match(String((await xvd.refused(4, 'IMAGE_NAMES_FILES', 'import', 'data.qcow2', 'small'))['message']), /external data file/);
  await must('qemu-img', 'create', '-q', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', file('flat.vmdk'), '1M');
  await xvd.refused(4, 'IMAGE_NAMES_FILES', 'import', 'flat.vmdk', 'small');
  assert.equal((await xvd.json('import', 'flat.vmdk', 'small', '--trust-image'))['changed'], true);
  const events = await xvd.json<{ type: string }[]>('events');
  assert.equal(events.filter(({ type }) => type === 'import.started').length, 1, 'nothing was begun of what was refused');
  await xvd.stopDaemon();
  await xvd.refused(8, 'DAEMON_NOT_RUNNING', 'import', 'source.raw', 'small');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

async function withBacking(xvd: BuiltXvd): Promise<string> {
  const secret = join(xvd.folder, 'secret.raw');
  writeFileSync(secret, Buffer.alloc(MIB, 's'));
  const image = join(xvd.folder, 'backed.qcow2');
  await must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', image);
  copyFileSync(image, join(xvd.folder, 'harmless.img'));
  await xvd.refused(4, 'IMAGE_NAMES_FILES', 'import', 'harmless.img', 'small');
  return image;
}

const QEMU_IMG = '/usr/bin/qemu-img';

/** The second part of every copy lasts for long, until it is let go. */
function slowDown(xvd: BuiltXvd): () => void {
  const folder = join(xvd.folder, 'slow');
  mkdirSync(folder);
  const mark = join(folder, 'on');
  const script = `#!/bin/sh
case "$*" in
  convert*'"offset":${256 * MIB}'*) [ -e ${mark} ] && { shift; exec ${QEMU_IMG} convert -r 100K "$@"; } ;;
esac
exec ${QEMU_IMG} "$@"
`;
  writeFileSync(join(folder, 'qemu-img'), script, { mode: 0o755 });
  writeFileSync(mark, '');
  (xvd.environment as Record<string, string>)['PATH'] = `${folder}:${xvd.environment['PATH']}`;
  return () => rmSync(mark);
}

/** A disk of two parts, an image for it, and an import or export that is in its second part. */
async function copyUnderWay(t: TestContext, kind: 'import' | 'export') {
  const xvd = builtXvd(t, 900 * MIB);
  await xvd.json('format', xvd.pool, '--extent-size', '16M');
  const letGo = slowDown(xvd);
  const daemon = await xvd.serve();
  await xvd.json('create', '400M', '--name', 'web', '--no-wipe');
  const image = join(xvd.folder, 'large.raw');
  makeImage(image, 400 * MIB, 1, 100, 260, 262, 265, 390);
  if (kind === 'export') {
    letGo();
    await xvd.json('import', image, 'web');
    writeFileSync(join(xvd.folder, 'slow', 'on'), '');
  }
  const start = (): { child: ChildProcess; ended: Promise<unknown[]> } => {
    const words = kind === 'import' ? ['import', image, 'web', '--json'] : ['export', 'web', join(xvd.folder, 'out.qcow2'), '--json'];
    const child = spawn(join(bin, 'xvd'), words, { env: xvd.environment, cwd: xvd.folder, stdio: ['ignore', 'pipe', 'pipe'] });
    return { child, ended: once(child, 'close') };
  };
  const { child, ended } = start();
  const records = join(xvd.environment['XVD_RUN'] ?? '', 'copies');
  await until('the first part is copied', () => existsSync(records) && readdirSync(records).length > 0);
  await until('the second part is being copied', () => copierOf(xvd) !== null);
  return { xvd, image, daemon, child, ended, letGo };
}

/** The qemu-img that copies the second part, not the script that becomes it (amid execve() a process has no words); null: none does. */
function copierOf(xvd: BuiltXvd): number | null {
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const command = commandOf(name);
    if (command.startsWith(`${QEMU_IMG}\0`) && command.includes(xvd.folder) && command.includes(`"offset":${256 * MIB}`)) return Number(name);
  }
  return null;
}

function killCopier(xvd: BuiltXvd): void {
  const pid = copierOf(xvd);
  assert.ok(pid !== null);
  process.kill(pid, 'SIGKILL');
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it ended
  }
}

const webIsWhole = async ({ xvd, image }: { xvd: BuiltXvd; image: string }): Promise<void> => {
  const out = join(xvd.folder, 'whole.raw');
  await xvd.json('export', 'web', out);
  await must('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, out);
  assert.deepEqual(await xvd.json('vbds'), []);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
};

test('a copy is a user of the disk; the daemon killed in its midst leaves nothing behind, and the next one goes on where it was', async (t) => {
  const { xvd, image, daemon, ended, letGo } = await copyUnderWay(t, 'import');
  const [copy] = (await xvd.ask('GET', '/api/v1/copies')).body as { kind: string; disk: string; doneBytes: number; totalBytes: number }[];
  assert.deepEqual([copy?.kind, copy?.disk, copy?.totalBytes], ['import', 'vd:1', 400 * MIB]);
  assert.ok((copy?.doneBytes ?? 0) >= 256 * MIB);
  const refused = await xvd.refused(4, 'SHARING_REFUSED', 'attach', 'vd:web', 'xvda', 'reader', '--driver', 'nbd');
  assert.deepEqual((refused['conflicts'] as { user: string; name: string; mode: string }[]).map(({ user, name, mode }) => [user, name, mode])[0], [
    'copy',
    'import of vd:1',
    'w',
  ]);
  await xvd.refused(4, 'SHARING_REFUSED', 'export', 'web', 'other.raw');
  await xvd.refused(6, 'DISK_BUSY', 'delete', 'web');
  daemon.kill('SIGKILL');
  await ended;
  letGo();
  await xvd.serve();
  const again = await xvd.json('import', image, 'web');
  assert.equal(again['resumedAtBytes'], 256 * MIB);
  const types = (await xvd.json<{ type: string; data: { interrupted?: boolean } }[]>('events')).map(({ type, data }) =>
    data.interrupted === true ? `${type}!` : type,
  );
  assert.deepEqual(types.slice(-4), ['import.started', 'import.ended!', 'import.started', 'import.ended']);
  await webIsWhole({ xvd, image });
});

test('a copier that is killed or fails is told with what it said, and leaves the disk free', async (t) => {
  const { xvd, child, ended } = await copyUnderWay(t, 'import');
  const said = text(child.stdout as Readable);
  killCopier(xvd);
  assert.deepEqual(await ended, [7, null]);
  const error = (JSON.parse(await said) as { error: { code: string; message: string } }).error;
  assert.equal(error.code, 'PROGRAM_FAILED');
  assert.match(error.message, /qemu-img/);
  await xvd.json('attach', 'vd:web', 'xvda', 'app', 'w', '--driver', 'nbd');
  await xvd.json('detach', 'xvda', 'app');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a filesystem without space for the image: said so, and nothing of it is left there', async (t) => {
  const xvd = builtXvd(t);
  const image = await setUp(xvd);
  await xvd.json('create', '64M');
  await xvd.json('import', image, '1');
  const small = join(xvd.folder, 'small');
  mkdirSync(small);
  await must('mount', '-t', 'tmpfs', '-o', 'size=1m', 'xvd-test', small);
  try {
    await xvd.refused(5, 'IMAGE_NO_SPACE', 'export', '1', 'small/out.raw');
    assert.deepEqual(readdirSync(small), []);
  } finally {
    await must('umount', small);
  }
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('on a terminal an import shows how far it is; elsewhere nothing but the result is printed', async (t) => {
  const xvd = builtXvd(t, 900 * MIB);
  await xvd.json('format', xvd.pool, '--extent-size', '16M');
  slowDown(xvd);
  await xvd.serve();
  await xvd.json('create', '400M', '--name', 'web', '--no-wipe');
  makeImage(join(xvd.folder, 'large.raw'), 400 * MIB, 260);
  const child = spawn('script', ['-qec', `${join(bin, 'xvd')} import large.raw web`, '/dev/null'], {
    env: { ...xvd.environment },
    cwd: xvd.folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let shown = '';
  child.stdout.on('data', (chunk: Buffer) => void (shown += chunk.toString()));
  t.after(() => child.kill());
  await until('the bar is drawn', () => / of 400 MiB copied/.test(shown));
  await until('the second part is being copied', () => copierOf(xvd) !== null);
  killCopier(xvd);
  await once(child, 'close');
  assert.doesNotMatch(shown, /Warning/);
  const plain = await xvd.run('import', 'nothing.raw', 'web');
  assert.deepEqual([plain.status, plain.out, plain.err.startsWith('xvd: there is no ')], [3, '', true], plain.err);
});

test('an export that is interrupted keeps what it has, and goes on with it', async (t) => {
  const { xvd, image, child, ended, letGo } = await copyUnderWay(t, 'export');
  const part = join(xvd.folder, 'out.qcow2.xvd-part');
  child.kill('SIGINT');
  assert.deepEqual(await ended, [130, null]);
  await until('the daemon has stopped it', async () => ((await xvd.ask('GET', '/api/v1/copies')).body as unknown[]).length === 0);
  assert.ok(existsSync(part) && !existsSync(join(xvd.folder, 'out.qcow2')));
  letGo();
  assert.equal((await xvd.json('export', 'web', 'out.qcow2'))['resumedAtBytes'], 256 * MIB);
  assert.ok(!existsSync(part));
  await must('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', image, join(xvd.folder, 'out.qcow2'));
  await webIsWhole({ xvd, image });
});

test('a copy ends with the lease of its disk, with whoever asked for it, and with the daemon', async (t) => {
  const { xvd, child, ended } = await copyUnderWay(t, 'import');
  child.kill('SIGKILL');
  await ended;
  const last = async (): Promise<string> => JSON.stringify((await xvd.json<{ type: string; data: unknown }[]>('events')).at(-1));
  await until('the copy that nobody waits for is over', async () => /import\.failed.*interrupted/.test(await last()));
  const second = xvd.refused(6, 'DISK_EXPIRED', 'import', 'large.raw', 'web');
  await until('it is under way again', () => copierOf(xvd) !== null);
  await xvd.json('refresh', 'web', '--expires', '1s');
  await second;
  assert.equal(copierOf(xvd), null);
  assert.deepEqual(readdirSync(join(xvd.environment['XVD_RUN'] ?? '', 'vbd')), [], 'fenced when it is answered');
  await xvd.json('restore', 'web');
  const third = xvd.run('import', 'large.raw', 'web', '--json');
  await until('it is under way once more', () => copierOf(xvd) !== null);
  await xvd.stopDaemon();
  assert.equal((await third).status, 8);
  assert.match(await last(), /import\.failed.*the daemon ended/);
  await xvd.json('delete', 'web');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
