// The port of disk images: files in the formats of other systems, copied into and out of a disk that is served.
//
// Contract: bytes go by the disk's endpoint only, part by part, so that a copy can be stopped between any two of them and go on
// later. What a copy started ends with this process, however it ends. Nothing that an image names beside itself is opened,
// unless it is trusted. A failing program is PROGRAM_FAILED with what it said, a full filesystem IMAGE_NO_SPACE.

import type { Bytes } from '../base/units.ts';
import type { CopyRecord } from '../core/copy-record.ts';
import type { ImageFormat, WritableFormat } from '../core/image-format.ts';
import type { Endpoint } from '../core/types.ts';

export type ImageFacts = {
  /** Absolute. */
  readonly path: string;
  readonly format: ImageFormat;
  /** Of the disk inside, rounded up to 512. */
  readonly sizeBytes: Bytes;
  /** Another file, or one that was written since, has another mark. */
  readonly mark: string;
  readonly trusted: boolean;
  readonly warnings: readonly string[];
};

/** An image that is being written: it has its name only when it is whole. */
export type UnfinishedImage = { readonly path: string; readonly part: string; readonly format: WritableFormat; readonly mark: string };

export type CopyPart = {
  readonly offsetBytes: Bytes;
  readonly lengthBytes: Bytes;
  /** What was copied into the disk, this and all before, is flushed when it returns; whether that failed, the data path knows. */
  readonly last: boolean;
};
export type CopyWatch = { readonly signal: AbortSignal; readonly progress: (doneBytes: number) => void };

export interface Images {
  /** `format` as the user asked. FILE_NOT_FOUND, IMAGE_NAMES_FILES, PROGRAM_FAILED when it is no image of that format. */
  inspect(path: string, options: { readonly format: string | null; readonly trusted: boolean }): Promise<ImageFacts>;
  /** `ontoZeros`: the disk reads as zeros there, so zeros are not written. */
  copyIn(image: ImageFacts, endpoint: Endpoint, part: CopyPart & { readonly ontoZeros: boolean }, watch: CopyWatch): Promise<void>;
  /** Makes a part of the disk zeros. */
  zero(endpoint: Endpoint, part: CopyPart, watch: CopyWatch): Promise<void>;

  /** Whether something has that name; VALUE_INVALID when it is no regular file. */
  exists(path: string): Promise<boolean>;
  begin(target: { readonly path: string; readonly format: WritableFormat; readonly sizeBytes: Bytes }): Promise<UnfinishedImage>;
  /** One that an interrupted copy left, if it still is the same. */
  findUnfinished(target: { readonly path: string; readonly format: WritableFormat }, mark: string): Promise<UnfinishedImage | null>;
  copyOut(endpoint: Endpoint, image: UnfinishedImage, part: CopyPart, watch: CopyWatch): Promise<void>;
  /** Durable, under its name. IMAGE_EXISTS when that was taken meanwhile and may not be replaced. */
  finish(image: UnfinishedImage, options: { readonly replace: boolean }): Promise<void>;
  discard(image: UnfinishedImage): Promise<void>;

  /** How far a copy has come, kept until it is dropped or the host reboots. */
  record(key: string): Promise<CopyRecord | null>;
  keepRecord(key: string, record: CopyRecord): Promise<void>;
  dropRecord(key: string): Promise<void>;
}
