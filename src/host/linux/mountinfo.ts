// The kernel's list of mounts, in the form of /proc/PID/mountinfo (proc(5)), as data.

export type Mount = {
  /** Of the filesystem: `8:3`, or `0:39` for one without a device of its own. */
  readonly number: string;
  readonly root: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
  /** Anybody can write through it: the mount and the filesystem below are both writable. */
  readonly writable: boolean;
  /** The filesystem itself writes, whatever this mount allows. */
  readonly superWritable: boolean;
};

export function parseMountinfo(text: string): readonly Mount[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    const [, , number, root, mountPoint, options] = fields;
    const [type, source, superOptions] = fields.slice(dash + 1);
    if (dash < 0 || number === undefined || root === undefined || mountPoint === undefined || type === undefined || source === undefined) return [];
    const superWritable = has(superOptions, 'rw');
    return [
      {
        number,
        root: unescape(root),
        mountPoint: unescape(mountPoint),
        type,
        source: unescape(source),
        writable: superWritable && has(options, 'rw'),
        superWritable,
      },
    ];
  });
}

const has = (options: string | undefined, option: string): boolean => (options ?? '').split(',').includes(option);

/** Blank, tab, line feed and backslash are written as octal numbers, also in bytes of UTF-8. */
const unescape = (field: string): string => field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** The mount that a path lies in: the deepest, and of several the one mounted last. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | null {
  let best: Mount | null = null;
  for (const mount of mounts) {
    const inside = path === mount.mountPoint || path.startsWith(mount.mountPoint === '/' ? '/' : `${mount.mountPoint}/`);
    if (inside && (best === null || mount.mountPoint.length >= best.mountPoint.length)) best = mount;
  }
  return best;
}
