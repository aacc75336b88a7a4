// The library's face: `import { openXvd, defineDomain } from 'xvd'`.

export { XvdError } from './base/error.ts';
export type { ErrorCode } from './base/error.ts';
export type {
  AttachOptions,
  AutostartInfo,
  Changed,
  CopyInfo,
  CopyProgress,
  ConflictInfo,
  CreateOptions,
  DeleteOptions,
  DetachOptions,
  DeviceInfo,
  DiskInfo,
  DomainInfo,
  EventInfo,
  ExportOptions,
  Expiry,
  ExtentInfo,
  FormatOptions,
  ImportOptions,
  LeaseOptions,
  ListOptions,
  ProblemInfo,
  VbdInfo,
  Warnings,
} from './app/shapes.ts';
export { defineDomain } from './core/domain-description.ts';
export type { DomainInput } from './core/domain-description.ts';
export type { DomainDescription } from './core/types.ts';
export { openXvd } from './library/open-xvd.ts';
export type { Xvd } from './library/open-xvd.ts';
