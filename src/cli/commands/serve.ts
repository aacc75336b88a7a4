import type { Command } from '../command.ts';

export const run: Command['run'] = async (context, { value }) => {
  // A program of its own in dist/: no other command reads the web server's code.
  const { serve } = (await import(new URL('../../daemon/serve.ts', import.meta.url).href)) as typeof import('../../daemon/serve.ts');
  const settings = {
    ...context.settings,
    listen: value('listen') ?? context.settings.listen,
    tokenFile: value('token-file') ?? context.settings.tokenFile,
    tlsCert: value('tls-cert') ?? context.settings.tlsCert,
    tlsKey: value('tls-key') ?? context.settings.tlsKey,
    tlsCa: value('tls-ca') ?? context.settings.tlsCa,
    nbdListen: value('nbd-listen') ?? context.settings.nbdListen,
  };
  const ready = ({ socket, catalogId }: { socket: string; catalogId: string }): void =>
    context.print(context.json ? `${JSON.stringify({ ready: true, socket, catalogId })}\n` : `ready on ${socket}\n`);
  await serve(settings, { signal: context.signal, ready });
  return { value: null, text: '' };
};
