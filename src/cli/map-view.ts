// The pool as a picture in a terminal: one cell for some extents, owners as letters and colours, at any width. Pure.

import type { DeviceMapInfo, MapKind, MapRun } from '../app/pool-map.ts';
import { formatSize } from '../core/size.ts';

export type MapViewOptions = { /** Columns of the terminal. */ readonly width: number; readonly colours: boolean };
type Look = { readonly mark: string; readonly says: string };

/** Living disks have upper-case letters, expired ones that are still whole lower-case ones. */
const looks: Readonly<Record<Exclude<MapKind, 'living' | 'expired' | 'unused'>, Look>> = {
  preparing: { mark: '+', says: 'being prepared' },
  reclaimed: { mark: '~', says: 'left of a reclaimed disk' },
  reserved: { mark: '%', says: 'expired, but still in reach' },
  bad: { mark: '!', says: 'bad' },
};
const CLEAN: Look = { mark: '.', says: 'never used, wiped' };
const DIRTY: Look = { mark: ':', says: 'never used, not wiped' };
const FIRST_LETTER = 65;
const LETTERS = 26;
/** Background colours of the 256-colour palette, far apart; black letters stay readable on each. */
const PALETTE = [75, 114, 215, 176, 80, 186, 209, 111, 150, 219, 44, 222];
const MIN_WIDTH = 10;
const MAX_ROWS = 8;
const LEGEND_OWNERS = 40;

/** The owners of the picture, in the order of their IDs. */
type Owners = ReadonlyMap<string, number>;

export function drawMap(devices: readonly DeviceMapInfo[], options: MapViewOptions): string {
  if (devices.length === 0) return 'The pool is empty: `xvd format DEVICE` adds a device.\n';
  const owners = ownersOf(devices);
  const width = Math.max(MIN_WIDTH, Math.floor(options.width));
  const pictures = devices.map((device) => drawDevice(device, owners, { ...options, width }));
  return [...pictures, drawLegend(devices, owners, { ...options, width })].join('\n');
}

function ownersOf(devices: readonly DeviceMapInfo[]): Owners {
  const found = new Set(
    devices.flatMap(({ runs }) => runs.flatMap(({ kind, disk }) => (disk !== null && (kind === 'living' || kind === 'expired') ? [disk] : []))),
  );
  return new Map([...found].toSorted((a, b) => idOf(a) - idOf(b)).map((disk, index) => [disk, index]));
}

const idOf = (uname: string): number => Number(uname.slice('vd:'.length));

function drawDevice(device: DeviceMapInfo, owners: Owners, { width, colours }: MapViewOptions): string {
  const cells = Math.min(device.extents, width * MAX_ROWS);
  const perCell = device.extents / cells;
  const scale = `${perCell === 1 ? 'a cell is one extent of' : 'a cell is about'} ${formatSize(Math.round(perCell * device.extentBytes))}`;
  const head = [device.device, `pool ${device.pool}`, formatSize(device.extents * device.extentBytes), scale];
  const lines = inLines(
    head.map((part) => ({ text: fit(part, width), length: Math.min(part.length, width) })),
    '  ',
    width,
  );
  let index = 0;
  for (let start = 0; start < cells; start += width) {
    let line = '';
    for (let cell = start; cell < Math.min(cells, start + width); cell += 1) {
      const [first, end] = [cell * perCell, (cell + 1) * perCell];
      while (index < device.runs.length - 1 && endOf(device.runs[index]) <= first) index += 1;
      line += drawCell(mostOf(device.runs, index, first, end), owners, colours);
    }
    lines.push(line);
  }
  return `${lines.join('\n')}\n`;
}

const fit = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);
const endOf = (run: MapRun | undefined): number => (run === undefined ? 0 : run.firstExtent + run.extents);

/** The run that has most of the cell; something bad is shown however small. */
function mostOf(runs: readonly MapRun[], from: number, first: number, end: number): MapRun | null {
  let most: MapRun | null = null;
  let share = 0;
  for (let index = from; index < runs.length; index += 1) {
    const run = runs[index];
    if (run === undefined || run.firstExtent >= end) break;
    if (run.kind === 'bad') return run;
    const overlap = Math.min(end, endOf(run)) - Math.max(first, run.firstExtent);
    if (overlap > share) [most, share] = [run, overlap];
  }
  return most;
}

function drawCell(run: MapRun | null, owners: Owners, colours: boolean): string {
  if (run === null) return ' ';
  const mark = markOf(run, owners);
  if (!colours) return mark;
  if (run.kind === 'bad') return `\u001b[41;97m${mark}\u001b[0m`;
  const index = run.disk === null ? undefined : owners.get(run.disk);
  if (index === undefined) return `\u001b[2m${mark}\u001b[0m`;
  const colour = PALETTE[index % PALETTE.length] ?? 75;
  return run.kind === 'living' ? `\u001b[30;48;5;${colour}m${mark}\u001b[0m` : `\u001b[38;5;${colour}m${mark}\u001b[0m`;
}

function markOf(run: MapRun, owners: Owners): string {
  if (run.kind === 'unused') return (run.clean ? CLEAN : DIRTY).mark;
  if (run.kind !== 'living' && run.kind !== 'expired') return looks[run.kind].mark;
  const letter = String.fromCodePoint(FIRST_LETTER + ((owners.get(run.disk ?? '') ?? 0) % LETTERS));
  return run.kind === 'living' ? letter : letter.toLowerCase();
}

function drawLegend(devices: readonly DeviceMapInfo[], owners: Owners, { width, colours }: MapViewOptions): string {
  const runs = devices.flatMap((device) => device.runs);
  const firstOf = new Map<string, MapRun>();
  for (const run of runs) if (run.disk !== null && owners.has(run.disk) && !firstOf.has(run.disk)) firstOf.set(run.disk, run);
  const shown = [...owners.keys()].slice(0, LEGEND_OWNERS).flatMap((disk) => {
    const run = firstOf.get(disk);
    const name = run?.name === null || run === undefined ? '' : ` ${run.name}`;
    return run === undefined ? [] : [{ mark: drawCell(run, owners, colours), says: `${disk}${name}${run.kind === 'expired' ? ' (expired, whole)' : ''}` }];
  });
  const more = owners.size > shown.length ? [{ mark: '…', says: `${owners.size - shown.length} more` }] : [];
  const kinds = [...new Set(runs.map((run) => run.kind))].flatMap((kind) =>
    kind === 'living' || kind === 'expired' || kind === 'unused' ? [] : [looks[kind]],
  );
  const unused = [CLEAN, DIRTY].filter((look) => runs.some((run) => run.kind === 'unused' && run.clean === (look === CLEAN)));
  return wrap([...shown, ...more, ...kinds, ...unused], width);
}

/** Items side by side, as many as fit. */
function wrap(items: readonly Look[], width: number): string {
  const parts = items.map(({ mark, says }) => {
    const said = fit(says, width - 2);
    return { text: `${mark} ${said}`, length: 2 + said.length };
  });
  return `${inLines(parts, '   ', width).join('\n')}\n`;
}

/** `length` of each part is without its colours. */
function inLines(parts: readonly { readonly text: string; readonly length: number }[], gap: string, width: number): string[] {
  const lines: string[] = [];
  let used = Infinity;
  for (const { text, length } of parts) {
    if (used + gap.length + length > width) {
      lines.push(text);
      used = length;
    } else {
      lines.push(`${lines.pop() ?? ''}${gap}${text}`);
      used += gap.length + length;
    }
  }
  return lines;
}
