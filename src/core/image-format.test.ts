import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseFormat, formatOfContent, formatOfName, formatToWrite, imageFormats, namesOthers } from './image-format.ts';

const nothing = new Uint8Array(512);
const head = (text: string, ...numbers: readonly (readonly [at: number, value: number])[]): Uint8Array => {
  const bytes = new Uint8Array(512);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  for (const [at, value] of numbers) bytes[at] = value;
  return bytes;
};
const qcow2 = head('QFI\xfb', [7, 3]);

test('a format is known by its name; .img tells nothing', () => {
  const rows = {
    'a.qcow2': 'qcow2',
    'A.VMDK': 'vmdk',
    'a.vhd': 'vhd',
    'a.vpc': 'vhd',
    'a.vhdx': 'vhdx',
    'a.raw': 'raw',
    'a.img': null,
    a: null,
    'a.constructor': null,
  };
  for (const [name, format] of Object.entries(rows)) assert.equal(formatOfName(name), format, name);
});

test('a format is known by its first or last bytes', () => {
  const vdi = new Uint8Array(512);
  vdi.set([0x7f, 0x10, 0xda, 0xbe], 64);
  const rows = [
    [qcow2, nothing, 'qcow2'],
    [head('QFI\xfb', [7, 1]), nothing, 'qcow'],
    [head('QED\0'), nothing, 'qed'],
    [head('KDMV'), nothing, 'vmdk'],
    [head('# Disk DescriptorFile\nversion=1\n'), nothing, 'vmdk'],
    [head('vhdxfile'), nothing, 'vhdx'],
    [nothing, head('conectix'), 'vhd'],
    [vdi, nothing, 'vdi'],
    [nothing, nothing, null],
    [new Uint8Array(0), new Uint8Array(0), null],
  ] as const;
  for (const [first, last, format] of rows) assert.equal(formatOfContent(first, last), format);
});

test('what was asked for counts most, then a sure name, then content; a raw image that looks like another is a warning', () => {
  assert.equal(chooseFormat('a.img', 'vpc', nothing, nothing).format, 'vhd');
  assert.equal(chooseFormat('a.img', null, qcow2, nothing).format, 'qcow2');
  assert.equal(chooseFormat('a.img', null, nothing, nothing).format, 'raw');
  assert.equal(chooseFormat('a.vmdk', null, qcow2, nothing).format, 'vmdk');
  const raw = chooseFormat('a.raw', null, qcow2, nothing);
  assert.equal(raw.format, 'raw');
  assert.match(raw.warnings.join(), /looks like|begins like qcow2/);
  assert.throws(() => chooseFormat('a', 'ext4', nothing, nothing), /'ext4'/);
});

test('an image is written in a format that takes pieces; raw when nothing is said', () => {
  assert.equal(formatToWrite('a', null), 'raw');
  assert.equal(formatToWrite('a.vhd', null), 'vhd');
  assert.equal(formatToWrite('a.vhd', 'qcow2'), 'qcow2');
  assert.throws(() => formatToWrite('a.dmg', null), /dmg/);
});

test('an image that names other files is told by its head', () => {
  assert.equal(namesOthers('qcow2', qcow2), null);
  assert.equal(namesOthers('qcow2', head('QFI\xfb', [7, 2], [15, 200])), 'a backing file');
  assert.equal(namesOthers('qcow2', head('QFI\xfb', [7, 3], [79, 4])), 'an external data file');
  assert.equal(namesOthers('qcow2', head('QFI\xfb', [7, 2], [79, 4])), null, 'version 2 has no features');
  assert.equal(namesOthers('qed', head('QED\0', [16, 1])), 'a backing file');
  assert.equal(namesOthers('vmdk', head('# Disk DescriptorFile\n')), 'files that hold its data');
  assert.equal(namesOthers('vmdk', head('KDMV')), 'files that hold its data', 'a capacity of 0 means a descriptor inside');
  assert.equal(namesOthers('vmdk', head('KDMV', [12, 1])), null);
  assert.equal(namesOthers('raw', qcow2), null, 'a raw image names nothing, whatever it looks like');
});

test('no bytes make any of it fail', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.uint8Array({ maxLength: 600 }), fc.constantFrom(...imageFormats), (first, last, format) => {
      formatOfContent(first, last);
      namesOthers(format, first);
    }),
  );
});
