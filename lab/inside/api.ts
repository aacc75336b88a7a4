// Asks the daemon for a test: a line `SOCKET METHOD PATH [JSON]` in, a line `STATUS JSON` out, until there are no more. One program for
// many questions: under emulation a start of Node costs more than most answers.

import { request } from 'node:http';
import { createInterface } from 'node:readline';

function ask(line: string): Promise<string> {
  const [, socketPath = '', method = '', path = '', body = ''] = /^(\S+) (\S+) (\S+) ?(.*)$/.exec(line) ?? [];
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sent = request({ socketPath, agent: false, method, path: `/api/v1${path}`, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.once('error', reject);
      answer.once('end', () => resolve(`${answer.statusCode} ${text.trim()}`));
    });
    sent.once('error', reject);
    sent.end(body === '' ? undefined : body);
  });
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${await ask(line)}\n`);
