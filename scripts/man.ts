// Writes docs/man/ from the table of commands (`make man`): xvd(1), and xvd-COMMAND(1) for each.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { commands } from '../src/cli/commands.ts';
import { manPages } from './man-pages.ts';

const folder = resolve(import.meta.dirname, '../docs/man');
mkdirSync(folder, { recursive: true });
const pages = manPages(commands);
for (const name of readdirSync(folder)) if (!pages.has(name)) rmSync(resolve(folder, name));
for (const [name, text] of pages) writeFileSync(resolve(folder, name), text);
