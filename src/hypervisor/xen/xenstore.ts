// What xenstore holds of domains and their block devices, out of the output of `xenstore-ls -f /local/domain`. Pure.

/** One block device that domain 0 serves: to a guest, or to itself. */
export type Backend = {
  /** Where it lies in xenstore. */
  readonly path: string;
  readonly domain: string;
  readonly vdev: number;
  readonly mode: 'r' | 'w';
  /** What was asked for (`/dev/mapper/web01`, `aio:/image`), and the node that its script found for that. */
  readonly params: string;
  readonly node: string | null;
  /** The hotplug script that makes it, and takes it away. */
  readonly script: string;
  /** Of XenbusState: 2 waiting, 4 connected, 5 closing, 6 closed. */
  readonly state: number;
  readonly hotplugError: string | null;
  readonly frontend: string | null;
};

export type Store = ReadonlyMap<string, string>;

/** `/path = "value"` a line; xenstore-ls writes what is no printable character as an escape. */
export function parseStore(text: string): Store {
  const store = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, path, value] = /^(\/\S*) = "(.*)"$/.exec(line) ?? [];
    if (path !== undefined && value !== undefined) store.set(path, unescape(value));
  }
  return store;
}

/** Of what `xenstore-ls` said when it ended with 1: the folder is not there. A xenstored that can't be reached ends it so, too, and tells of nothing. */
export const hasNoFolder = (stderr: string): boolean => /xs_directory \(.*\): No such file or directory/.test(stderr);

const named: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\', '"': '"' };
const unescape = (value: string): string =>
  value.replaceAll(/\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))/g, (_, hex: string | undefined, octal: string | undefined, other: string | undefined) =>
    other === undefined ? String.fromCodePoint(Number.parseInt(hex ?? octal ?? '0', hex === undefined ? 8 : 16)) : (named[other] ?? other),
  );

export function backendsOf(store: Store): readonly Backend[] {
  const paths = [...store.keys()].flatMap((path) => /^(\/local\/domain\/0\/backend\/(?:vbd|qdisk|vbd3)\/\d+\/\d+)\/frontend$/.exec(path)?.[1] ?? []);
  return paths.map((path) => {
    const value = (key: string): string | null => store.get(`${path}/${key}`) ?? null;
    const [domain = '', vdev = ''] = path.split('/').slice(-2);
    return {
      path,
      domain,
      vdev: Number(vdev),
      mode: value('mode') === 'r' ? 'r' : 'w',
      params: value('params') ?? '',
      node: value('physical-device-path'),
      script: value('script') ?? '',
      state: Number(value('state') ?? 0),
      hotplugError: value('hotplug-error'),
      frontend: value('frontend'),
    };
  });
}
