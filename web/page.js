// The page: the pool as a picture, disks with what is left of their leases, what is attached, and events as they come. It only
// reads. Names in the catalog are chosen by others, so they become text, never markup.

const API = '/api/v1';
const EVENTS_SHOWN = 200;
const RETRY_MS = 3000;
const KINDS = {
  preparing: ['#8a94a0', 'being prepared'],
  reclaimed: ['#b9a58c', 'left of a reclaimed disk'],
  reserved: ['#d08a3c', 'expired, but still in reach'],
  unused: ['', 'nobody’s'],
  bad: ['#c8372d', 'bad'],
};
const by = (id) => document.getElementById(id);
const state = { token: sessionStorage.getItem('xvd-token') ?? '', disks: [], map: null, lastEvent: 0 };

/** An element with text or children. */
function make(tag, content = '', attributes = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...[content].flat());
  return element;
}

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let at = 0;
  let value = bytes;
  for (; value >= 1024 && at < units.length - 1; at += 1) value /= 1024;
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${units[at]}`;
}

function left(disk) {
  if (disk.state === 'expired' || disk.state === 'reclaimed') return 'over';
  if (disk.expiresAt === null) return 'never ends';
  const seconds = Math.max(0, Math.round((Date.parse(disk.expiresAt) - Date.now()) / 1000));
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

async function ask(path, options = {}) {
  const headers = { ...(state.token === '' ? {} : { authorization: `Bearer ${state.token}` }), ...options.headers };
  const answer = await fetch(`${API}${path}`, { ...options, headers });
  by('login').hidden = answer.status !== 403;
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(`${problem.detail ?? answer.statusText} ${problem.fix ?? ''}`);
}

const get = async (path) => (await ask(path)).json();

async function refresh() {
  const [devices, disks, vbds, map] = await Promise.all([get('/devices'), get('/disks?which=all&limit=1000'), get('/vbds'), get('/map')]);
  const sum = (name) => size(devices.reduce((total, device) => total + device[name], 0));
  by('sum').textContent = `${sum('totalBytes')} in ${devices.length} ${devices.length === 1 ? 'device' : 'devices'}, ${sum('freeBytes')} free`;
  Object.assign(state, { disks, map });
  showPool();
  showDisks();
  rows('vbds', vbds, 7, (vbd) => [vbd.domain, vbd.target, vbd.source, vbd.mode, vbd.state, vbd.driver, [size(vbd.sizeBytes), 'n']]);
}

function rows(id, items, columns, cellsOf) {
  const cell = (value) => (Array.isArray(value) ? make('td', value[0], { class: value[1] }) : make('td', value));
  const made = items.map((item) => make('tr', cellsOf(item).map(cell)));
  by(id).replaceChildren(...(made.length > 0 ? made : [make('tr', make('td', 'nothing', { colspan: columns, class: 'empty' }))]));
}

function showDisks() {
  if (state.map === null) return;
  const soon = (disk) => disk.state === 'live' && disk.expiresAt !== null && Date.parse(disk.expiresAt) - Date.now() < 3_600_000;
  rows('disks', state.disks, 6, (disk) => [
    disk.uname,
    disk.name ?? '–',
    [size(disk.sizeBytes), 'n'],
    disk.suspect ? `${disk.state}, suspect` : disk.state,
    soon(disk) ? [left(disk), 'soon'] : left(disk),
    disk.vbds.map((vbd) => `${vbd.domain}:${vbd.target.replace('/dev/', '')}`).join(' ') || '–',
  ]);
}

/** Hues far apart, the same for a disk every time. */
const hue = (disk) => (Number(disk.slice('vd:'.length)) * 137.5) % 360;

function colour(run) {
  if (run.kind === 'living') return `hsl(${hue(run.disk)} 55% 52%)`;
  if (run.kind === 'expired') return `hsl(${hue(run.disk)} 30% 74%)`;
  if (run.kind === 'unused') return getComputedStyle(document.documentElement).getPropertyValue('--unused');
  return KINDS[run.kind][0];
}

function showPool() {
  if (state.map === null) return;
  const figures = state.map.map((device) => {
    const canvas = make('canvas', '', { role: 'img', 'aria-label': `who has what of ${device.device}` });
    return [
      device,
      canvas,
      make(
        'div',
        [
          make('p', [
            make('b', device.device),
            make('span', `pool ${device.pool}, ${size(device.extents * device.extentBytes)}, extents of ${size(device.extentBytes)}`),
          ]),
          canvas,
        ],
        { class: 'device' },
      ),
    ];
  });
  by('pool').replaceChildren(
    ...(figures.length > 0 ? figures.map(([, , figure]) => figure) : [make('p', 'The pool is empty: xvd format DEVICE adds a device.', { class: 'empty' })]),
  );
  for (const [device, canvas] of figures) draw(device, canvas);
  const runs = state.map.flatMap((device) => device.runs);
  const seen = new Map();
  for (const run of runs) seen.set(run.kind === 'living' || run.kind === 'expired' ? run.disk : run.kind, run);
  const says = (run) =>
    KINDS[run.kind] === undefined
      ? `${run.disk}${run.name === null ? '' : ` ${run.name}`}${run.kind === 'expired' ? ' (expired, whole)' : ''}`
      : KINDS[run.kind][1];
  by('legend').replaceChildren(
    ...[...seen.values()].slice(0, 60).map((run) => {
      const mark = make('i');
      mark.style.background = colour(run);
      return make('li', [mark, says(run)]);
    }),
  );
}

function draw(device, canvas) {
  const scale = devicePixelRatio;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const brush = canvas.getContext('2d');
  for (const run of device.runs) {
    const from = (run.firstExtent / device.extents) * canvas.width;
    brush.fillStyle = colour(run);
    // A run has a pixel at least, however large the pool.
    brush.fillRect(
      from,
      0,
      Math.max(scale, (run.extents / device.extents) * canvas.width - (run.extents * canvas.width > device.extents * 4 ? scale : 0)),
      canvas.height,
    );
  }
}

function showEvent(event) {
  const data = Object.entries(event.data)
    .filter(([, value]) => value !== null && value !== '')
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  by('events').prepend(make('li', [make('time', event.time.slice(0, 19).replace('T', ' ')), `${event.type} ${event.subject} ${data.join(' ')}`]));
  while (by('events').childElementCount > EVENTS_SHOWN) by('events').lastElementChild.remove();
}

/** Server-Sent Events by fetch, since EventSource can't send a token. */
async function follow() {
  const answer = await ask('/events', { headers: { 'last-event-id': String(state.lastEvent) } });
  by('link').textContent = 'live';
  by('link').className = 'live';
  let text = '';
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    const messages = `${text}${chunk}`.split('\n\n');
    text = messages.pop();
    for (const message of messages) {
      const data = /^data: ?(.*)$/m.exec(message)?.[1];
      if (data === undefined) continue;
      const event = JSON.parse(data);
      state.lastEvent = event.id;
      showEvent(event);
    }
    refreshSoon();
  }
}

let due = null;
function refreshSoon() {
  due ??= setTimeout(() => {
    due = null;
    void refresh().catch(tell);
  }, 100);
}

function tell(error) {
  by('problem').textContent = error.message;
  by('problem').hidden = false;
}

async function keepShowing() {
  for (;;) {
    try {
      await refresh();
      by('problem').hidden = true;
      await follow();
    } catch (error) {
      tell(error);
    }
    by('link').textContent = 'not connected';
    by('link').className = '';
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

by('login').addEventListener('submit', (submit) => {
  submit.preventDefault();
  state.token = by('token').value;
  sessionStorage.setItem('xvd-token', state.token);
  refreshSoon();
});
addEventListener('resize', showPool);
setInterval(showDisks, 1000);
void keepShowing();
