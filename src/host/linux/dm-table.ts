// A device-mapper table, as `dmsetup table` prints it, as data: only linear targets have fixed places.

export type LinearPiece = { readonly atSector: number; readonly sectors: number; readonly device: string; readonly deviceSector: number };

/** null: some of it has no fixed place (crypt, thin, raid, …), so that it stands for all of what is below. [] for an error table. */
export function parseLinearTable(text: string): readonly LinearPiece[] | null {
  const pieces: LinearPiece[] = [];
  for (const line of text.split('\n').filter((row) => row.trim() !== '')) {
    const [at, count, target, device, start] = line.trim().split(/\s+/);
    if (target === 'error' || target === 'zero') continue;
    if (target !== 'linear' || device === undefined || !/^\d+:\d+$/.test(device)) return null;
    const piece = { atSector: Number(at), sectors: Number(count), device, deviceSector: Number(start) };
    if (![piece.atSector, piece.sectors, piece.deviceSector].every((value) => Number.isSafeInteger(value) && value >= 0)) return null;
    pieces.push(piece);
  }
  return pieces;
}
