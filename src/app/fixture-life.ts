// A plain model of semantics, “Life of a disk”: extents one by one in lists, no runs, no indexes, no SQL. It says which extents a
// create takes, from whom, what of them is clean afterwards, and what each disk has lost.

export type Extent = { readonly device: number; readonly index: number };
export type ModelDisk = { readonly id: number; readonly sizeBytes: number; expiresAt: number | null; extents: Extent[] };
type Cell = { owner: 'free' | 'bad' | number; clean: boolean };

export class LifeModel {
  nextId = 1;
  readonly disks = new Map<number, ModelDisk>();
  /** By device: the size of its extents, and who has each. */
  readonly #devices = new Map<number, { readonly extentBytes: number; readonly cells: Cell[] }>();

  addDevice(id: number, extentBytes: number, count: number): void {
    this.#devices.set(id, { extentBytes, cells: Array.from({ length: count }, () => ({ owner: 'free', clean: false })) });
  }

  /** `fails`: extents that can't be wiped. */
  create(sizeBytes: number, expiresAt: number | null, now: number, wipe: boolean, fails: (extent: Extent) => boolean): 'made' | 'full' {
    const taken = this.#allocate(sizeBytes, now);
    if (taken === null) return 'full';
    const disk: ModelDisk = { id: this.nextId, sizeBytes, expiresAt, extents: taken };
    this.nextId += 1;
    this.disks.set(disk.id, disk);
    this.#own(disk);
    for (let whole = !wipe; !whole;) {
      const bad = this.#wipe(disk, fails);
      disk.extents = disk.extents.filter((extent) => !bad.includes(extent));
      if (bad.length === 0) break;
      const more = this.#allocate(sizeBytes - this.#heldBytes(disk), now);
      whole = more === null;
      disk.extents.push(...(more ?? []));
      this.#own(disk);
      if (whole) return this.#giveUp(disk);
    }
    return 'made';
  }

  /** Its owner writes it, which is known before the first byte. */
  write(disk: ModelDisk): void {
    for (const extent of disk.extents) this.#cell(extent).clean = false;
  }

  /** Bad extents that work again are free, and not believed to be clean. */
  heal(fails: (extent: Extent) => boolean): void {
    for (const [device, { cells }] of this.#devices)
      for (const [index, cell] of cells.entries()) if (cell.owner === 'bad' && !fails({ device, index })) Object.assign(cell, { owner: 'free', clean: false });
  }

  lostBytes(disk: ModelDisk): number {
    return Math.max(0, disk.sizeBytes - this.#heldBytes(disk));
  }

  /** `device:index` of each extent that is free or bad, with a star when it is clean. */
  places(owner: 'free' | 'bad'): string[] {
    return [...this.#devices].flatMap(([device, { cells }]) =>
      cells.flatMap((cell, index) => (cell.owner === owner ? [`${device}:${index}${cell.clean ? '*' : ''}`] : [])),
    );
  }

  isClean = (extent: Extent): boolean => this.#cell(extent).clean;

  /** Never-used space first: the smallest stretch that fits whole, else the longest; then the tail of the disk that expired first. */
  #allocate(bytes: number, now: number): Extent[] | null {
    const got: Extent[] = [];
    const losers = new Map<ModelDisk, Extent[]>();
    const free = (extent: Extent): boolean =>
      this.#cell(extent).owner === 'free' && !got.some(({ device, index }) => device === extent.device && index === extent.index);
    for (let missing = bytes; missing > 0;) {
      const stretches = this.#stretches(free);
      const size = (stretch: readonly Extent[]): number => stretch.length * this.#bytesOf(stretch[0]);
      const fitting = stretches.filter((stretch) => size(stretch) >= missing).toSorted((a, b) => size(a) - size(b));
      const [stretch] = fitting.length > 0 ? fitting : stretches.toSorted((a, b) => size(b) - size(a));
      if (stretch !== undefined) {
        const part = stretch.slice(0, Math.ceil(missing / this.#bytesOf(stretch[0])));
        got.push(...part);
        missing -= size(part);
        continue;
      }
      const left = (disk: ModelDisk): Extent[] => losers.get(disk) ?? disk.extents;
      const [victim] = [...this.disks.values()]
        .filter((disk) => disk.expiresAt !== null && disk.expiresAt <= now && left(disk).length > 0)
        .toSorted((a, b) => (a.expiresAt ?? 0) - (b.expiresAt ?? 0) || a.id - b.id);
      if (victim === undefined) return null;
      const kept = [...left(victim)];
      const tail: Extent[] = [];
      for (let more = missing; more > 0;) {
        const last = kept.pop();
        if (last === undefined) break;
        tail.unshift(last);
        more -= this.#bytesOf(last);
      }
      losers.set(victim, kept);
      got.push(...tail);
      missing -= tail.reduce((sum, extent) => sum + this.#bytesOf(extent), 0);
    }
    for (const [disk, kept] of losers) disk.extents = kept;
    return got;
  }

  /** Free extents in a row, equally clean; by device and place. */
  #stretches(free: (extent: Extent) => boolean): Extent[][] {
    const found: Extent[][] = [];
    for (const [device, { cells }] of this.#devices) {
      let open: Extent[] = [];
      for (const [index, { clean }] of cells.entries()) {
        const last = open.at(-1);
        if (last !== undefined && this.#cell(last).clean !== clean) open = [];
        if (!free({ device, index })) open = [];
        else if (open.push({ device, index }) === 1) found.push(open);
      }
    }
    return found;
  }

  /** Gives the bad ones. The slack of the last extent is not wiped. */
  #wipe(disk: ModelDisk, fails: (extent: Extent) => boolean): Extent[] {
    const bad: Extent[] = [];
    let left = disk.sizeBytes;
    for (const extent of disk.extents) {
      const used = Math.min(left, this.#bytesOf(extent));
      left -= used;
      const cell = this.#cell(extent);
      if (cell.clean || used === 0) continue;
      if (fails(extent)) {
        cell.owner = 'bad';
        bad.push(extent);
      } else cell.clean = used === this.#bytesOf(extent);
    }
    return bad;
  }

  #giveUp(disk: ModelDisk): 'full' {
    for (const extent of disk.extents) this.#cell(extent).owner = 'free';
    this.disks.delete(disk.id);
    return 'full';
  }

  #own(disk: ModelDisk): void {
    for (const extent of disk.extents) this.#cell(extent).owner = disk.id;
  }

  #heldBytes = (disk: ModelDisk): number => disk.extents.reduce((sum, extent) => sum + this.#bytesOf(extent), 0);

  #bytesOf(extent: Extent | undefined): number {
    return this.#devices.get(extent?.device ?? 0)?.extentBytes ?? 0;
  }

  #cell({ device, index }: Extent): Cell {
    const cell = this.#devices.get(device)?.cells[index];
    if (cell === undefined) throw new RangeError(`no extent ${device}:${index}`);
    return cell;
  }
}
