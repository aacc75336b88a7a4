// /proc/swaps as data.

export type Swap = { readonly path: string; readonly isFile: boolean };

export function parseSwaps(text: string): readonly Swap[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [path, type] = line.trim().split(/\s+/);
      if (path === undefined || path === '') return [];
      return [{ path: path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))), isFile: type === 'file' }];
    });
}
