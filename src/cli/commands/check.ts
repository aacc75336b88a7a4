import type { Command } from '../command.ts';

const PROBLEMS_LEFT = 9;

export const run: Command['run'] = async (context, { flag }) => {
  const { problems } = await (await context.xvd()).checkPool({ repair: flag('repair'), acceptClock: flag('accept-clock') });
  const left = problems.filter(({ repaired }) => !repaired).length;
  const text = problems.map(({ code, message, repaired }) => `${repaired ? 'repaired' : 'problem'}: ${message} (${code})\n`).join('') || 'no problem found\n';
  return { value: { problems }, text, exit: left === 0 ? 0 : PROBLEMS_LEFT };
};
