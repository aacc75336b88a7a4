// The log of the daemon and of the processes beside it: one JSON object a line, on standard error.

import { pino } from 'pino';
import type { Log } from './compose.ts';

export function openLog(): Log {
  const logger = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
  return (event, details) => logger.info({ event, ...details });
}
