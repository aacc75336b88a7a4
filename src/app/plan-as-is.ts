// A device as the host shows it now, before the catalog knows it or whatever it knows of it: by its own identity. Where another
// bears the same one, that tells nothing, and it is the device at this path.

import type { PlanDevice } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';

type Facts = Pick<DeviceFacts, 'path' | 'kind' | 'identity' | 'sizeBytes' | 'twins'>;

export const planAsIs = ({ path, kind, identity, sizeBytes, twins }: Facts): PlanDevice => ({
  path,
  kind,
  identity: twins.length === 0 ? identity : { kind: 'path', path },
  sizeBytes,
});
