// Who may connect to the Unix sockets of VBDs: the settings `nbd_socket_mode` and `nbd_socket_owner`, read once at the start.

import { XvdError } from '../base/error.ts';
import type { SocketAccess } from '../datapath/nbd/vbd-folder.ts';
import type { Programs } from '../host/programs.ts';
import type { Settings } from './settings.ts';

/** null = whoever runs the daemon, and nobody else. VALUE_INVALID for a mode or an owner that is none. */
export async function socketAccess(settings: Pick<Settings, 'nbdSocketMode' | 'nbdSocketOwner'>, programs: Programs): Promise<SocketAccess | null> {
  const { nbdSocketMode: mode, nbdSocketOwner: owner } = settings;
  if (mode === null && owner === null) return null;
  const [user = '', group = '', more] = owner?.split(':') ?? [];
  if (more !== undefined) throw new XvdError('VALUE_INVALID', `'nbd_socket_owner' is '${owner}'`, { fix: 'Write USER:GROUP, USER or :GROUP.' });
  return { mode: modeOf(mode ?? '0600'), uid: await idOf('passwd', user, programs), gid: await idOf('group', group, programs) };
}

function modeOf(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw new XvdError('VALUE_INVALID', `'nbd_socket_mode' is '${text}'`, { fix: 'Write an octal mode, like "0660".' });
}

/** By name or number; left out: as it is. The system's own databases are asked, of which files are only one. */
async function idOf(database: 'passwd' | 'group', name: string, programs: Programs): Promise<number | null> {
  if (name === '') return null;
  if (/^[0-9]{1,9}$/.test(name)) return Number(name);
  const { status, stdout } = await programs.run('getent', ['--', database, name], { okStatus: [0, 2] });
  const id = Number(stdout.split(':')[2]);
  if (status === 0 && Number.isInteger(id)) return id;
  throw new XvdError('VALUE_INVALID', `'nbd_socket_owner': no ${database === 'passwd' ? 'user' : 'group'} '${name}' is known here`, {
    fix: 'Write USER:GROUP, USER or :GROUP.',
  });
}
