// Starts a process of its own session that nobody waits for: neither the terminal nor the folder of who starts it is held.
//
// A command pays for it with every other millisecond that its user waits. Loading node:child_process takes it 12 ms and forking 3;
// what that module calls for spawnSync() takes 3 in all (medians of 25, beside 26 for Node itself). It is no interface of Node, so
// it is asked only of the very Node that built the program; everywhere else the module does it.

/** Set by the build: the version of the Node that it ran on. Not there in sources that are run as they are. */
declare const BUILT_ON: string | undefined;

type Started = { readonly status?: number; readonly error?: number };
type Internal = {
  spawn(what: { file: string; args: readonly string[]; envPairs: readonly string[]; cwd: string; stdio: readonly { type: 'ignore' }[] }): Started;
};

/** A shell of few pages forks sooner than Node does. */
const SHELL = '/bin/sh';
const SCRIPT = 'command -v setsid >/dev/null || exit 1; setsid "$@" &';

/** `onFailure`: it could not be started, as far as that is known later only. */
export async function leaveProcess(program: string, args: readonly string[], onFailure: () => void): Promise<boolean> {
  const command = ['--disable-warning=ExperimentalWarning', program, ...args];
  if (typeof BUILT_ON === 'string' && BUILT_ON === process.version && leaveAtOnce(command)) return true;
  const { spawn } = await import('node:child_process');
  const child = spawn(process.execPath, command, { stdio: 'ignore', detached: true, cwd: '/' });
  child.on('error', onFailure).unref();
  return child.pid !== undefined;
}

function leaveAtOnce(command: readonly string[]): boolean {
  const { binding } = process as unknown as { binding(name: 'spawn_sync'): Internal };
  const { status, error } = binding.call(process, 'spawn_sync').spawn({
    file: SHELL,
    args: [SHELL, '-c', SCRIPT, SHELL, process.execPath, ...command],
    envPairs: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
    cwd: '/',
    stdio: [{ type: 'ignore' }, { type: 'ignore' }, { type: 'ignore' }],
  });
  return error === undefined && status === 0;
}
