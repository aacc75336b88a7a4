// How qemu's tools are told what to open: as JSON made here, so that nothing in a path is read as anything but a path.

import type { ImageFormat } from '../../core/image-format.ts';
import type { Endpoint } from '../../core/types.ts';
import { XvdError } from '../../base/error.ts';
import type { CopyPart } from '../image.ts';

export type QemuNode = { readonly [key: string]: string | number | boolean | null | QemuNode };

export const driverOf = (format: ImageFormat): string => (format === 'vhd' ? 'vpc' : format);

/** An image by itself: what it stands on is not opened, unless it is trusted. */
export function imageNode(image: { readonly path: string; readonly format: ImageFormat; readonly trusted: boolean }, isBlock = false): QemuNode {
  const file = { driver: isBlock ? 'host_device' : 'file', filename: image.path };
  return { driver: driverOf(image.format), ...(image.trusted ? {} : { backing: null }), file };
}

export function diskNode(endpoint: Endpoint): QemuNode {
  if (endpoint.kind !== 'nbd') throw new XvdError('NOT_SUPPORTED', 'images are copied over NBD only');
  return { driver: 'nbd', server: { type: 'unix', path: endpoint.socketPath }, export: endpoint.exportName };
}

/** `toEnd`: as far as it goes, since an image of an odd size ends before its last sector does. */
export const partOf = (node: QemuNode, { offsetBytes, lengthBytes }: CopyPart, toEnd = false): QemuNode => ({
  driver: 'raw',
  offset: offsetBytes,
  ...(toEnd ? {} : { size: lengthBytes }),
  file: node,
});

export const zerosNode = (lengthBytes: number): QemuNode => ({ driver: 'raw', file: { driver: 'null-co', size: lengthBytes, 'read-zeroes': true } });

export const jsonName = (node: QemuNode): string => `json:${JSON.stringify(node)}`;
