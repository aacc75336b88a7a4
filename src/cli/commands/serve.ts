import type { Command } from '../command.ts';

export const run: Command['run'] = async (context, { value }) => {
  const { serve } = await import('../../daemon/serve.ts');
  const settings = {
    ...context.settings,
    listen: value('listen') ?? context.settings.listen,
    tokenFile: value('token-file') ?? context.settings.tokenFile,
    tlsCert: value('tls-cert') ?? context.settings.tlsCert,
    tlsKey: value('tls-key') ?? context.settings.tlsKey,
  };
  const ready = ({ socket, catalogId }: { socket: string; catalogId: string }): void =>
    context.print(context.json ? `${JSON.stringify({ ready: true, socket, catalogId })}\n` : `ready on ${socket}\n`);
  await serve(settings, { signal: context.signal, ready });
  return { value: null, text: '' };
};
