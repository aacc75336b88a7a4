import type { EventInfo } from '../../app/shapes.ts';
import type { Command, Context } from '../command.ts';
import { wholeNumber } from '../options.ts';
import { eventLine } from '../views.ts';

const PAGE = 1000;

export const run: Command['run'] = async (context, { flag, value }) => {
  const after = value('after');
  const from = after === undefined ? 0 : wholeNumber(after, '--after');
  if (flag('follow')) return follow(context, from);
  const all = await pages(context, from);
  return { value: all, text: all.map(eventLine).join('') };
};

async function pages(context: Context, from: number): Promise<EventInfo[]> {
  const xvd = await context.xvd();
  const all: EventInfo[] = [];
  for (let afterId = from; ; afterId = all.at(-1)?.id ?? afterId) {
    const page = await xvd.events({ afterId, limit: PAGE });
    all.push(...page);
    if (page.length < PAGE) return all;
  }
}

async function follow(context: Context, afterId: number): Promise<{ value: null; text: string }> {
  const { signal } = context;
  for await (const event of (await context.xvd()).followEvents({ afterId, signal }))
    context.print(context.json ? `${JSON.stringify(event)}\n` : eventLine(event));
  return { value: null, text: '' };
}
