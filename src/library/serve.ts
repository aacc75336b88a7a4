// The daemon, from a program: what `xvd serve` runs.

import type { ServeOptions } from '../daemon/serve.ts';
import { resolveSettings } from '../daemon/settings.ts';
import type { SettingsInput } from '../daemon/settings.ts';

/** Returns when the signal has ended and the daemon with it. `ready` is called when it answers. DAEMON_RUNNING, NOT_PERMITTED. */
export async function serve(options: SettingsInput, work: ServeOptions): Promise<void> {
  // A program of its own in dist/: nothing else reads the web server's code.
  const daemon = (await import(new URL('../daemon/serve.ts', import.meta.url).href)) as typeof import('../daemon/serve.ts');
  return daemon.serve(await resolveSettings(options, process.env), work);
}
