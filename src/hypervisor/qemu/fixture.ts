// What the tests of QEMU stand on: a folder with images served over NBD, a root disk for a guest, and the guest's console.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '../../core/types.ts';

/** A folder of its own, and servers for images in it; all of it goes at the end. */
export class Bench implements AsyncDisposable {
  readonly folder: string;
  constructor(folder: string) {
    this.folder = folder;
  }
  static async open(): Promise<Bench> {
    return new Bench(await mkdtemp(join(tmpdir(), 'xvd-qemu-')));
  }
  /** Makes an image of zeros, or of a filesystem with that tree. */
  async image(name: string, sizeBytes: number, tree?: string): Promise<void> {
    await writeFile(join(this.folder, name), '');
    await truncate(join(this.folder, name), sizeBytes);
    if (tree === undefined) return;
    const mke2fs = spawn('/sbin/mke2fs', ['-q', '-t', 'ext4', '-d', tree, join(this.folder, name)], { stdio: 'ignore' });
    assert.deepEqual(await once(mke2fs, 'exit'), [0, null]);
  }
  /** `at`: where in the folder, when it matters. */
  async serve(image: string, exportName: string, at = `${image}.nbd`): Promise<Endpoint> {
    const socketPath = join(this.folder, at);
    const server = spawn(
      'qemu-nbd',
      [
        '-f',
        'raw',
        '-k',
        socketPath,
        '-x',
        exportName,
        '-t',
        '-e',
        '4',
        '--fork',
        join(this.folder, image),
        '--pid-file',
        join(this.folder, `${image}.nbd.pid`),
      ],
      { stdio: 'ignore' },
    );
    await once(server, 'exit'); // --fork: it returns when it listens
    return { kind: 'nbd', uri: `nbd+unix:///${exportName}?socket=${socketPath}`, socketPath, exportName };
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of (await readdir(this.folder)).filter((name) => name.endsWith('.nbd.pid')))
      process.kill(Number(await readFile(join(this.folder, file), 'utf8')));
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The guest's console: what it has said so far, and waiting for it to say something. */
export class Console implements Disposable {
  readonly #socket: Socket;
  #said = '';
  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
  }
  async says(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.#said);
      if (found !== null) return found[0];
      await once(this.#socket, 'data', { signal: AbortSignal.timeout(120_000) });
    }
  }
  type(line: string): void {
    this.#socket.write(`${line}\n`);
  }
  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
