// The library's face: `import { openXvd, defineDomain } from 'xvd'`.

export { XvdError } from './base/error.ts';
export type { ErrorCode } from './base/error.ts';
export type { AdoptOptions, AdoptResult, DeviceSide } from './app/adopt-device.ts';
export type { CheckOptions } from './app/check-pool.ts';
export type { ImportLegacyOptions, ImportLegacyResult } from './app/import-legacy.ts';
export type { DeviceMapInfo, MapKind, MapRun } from './app/pool-map.ts';
export type { Work } from './app/prepare-disk.ts';
export type { RecoverOptions, RecoverResult } from './app/recover-catalog.ts';
export type {
  AttachInfo,
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
export type { DeviceIdentity, DomainDescription } from './core/types.ts';
export type { Settings, SettingsInput } from './daemon/settings.ts';
export type { CopyWork } from './library/copy.ts';
export type { FollowOptions } from './library/follow-events.ts';
export { recoverCatalog } from './library/mend.ts';
export { openXvd } from './library/open-xvd.ts';
export type { Xvd } from './library/open-xvd.ts';
export { serve } from './library/serve.ts';
