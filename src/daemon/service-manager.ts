// Under systemd (`Type=notify`) the daemon says when it is ready: units that are ordered after it find their disks attached.

import { openPrograms } from '../host/programs.ts';
import type { Log } from './compose.ts';

/** A service manager that can't be told waits until its own time limit and says so. */
export async function tellServiceManager(log: Log): Promise<void> {
  if (process.env['NOTIFY_SOCKET'] === undefined) return;
  try {
    await openPrograms({ searchPath: process.env['PATH'] ?? '' }).run('systemd-notify', ['--ready', `--pid=${process.pid}`]);
  } catch (error) {
    log('daemon.not-told', { reason: (error as Error).message });
  }
}
