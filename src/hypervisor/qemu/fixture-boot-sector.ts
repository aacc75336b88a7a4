// The smallest guest: the BIOS loads it from a disk, it writes a word to the first serial line and halts.

export function bootSector(word: string): Uint8Array {
  const sector = new Uint8Array(512);
  // xor ax,ax; mov ds,ax; mov dx,3f8h; mov si,7c15h; next: lodsb; test al,al; jz end; out dx,al; jmp next; end: hlt; jmp end
  sector.set([0x31, 0xc0, 0x8e, 0xd8, 0xba, 0xf8, 0x03, 0xbe, 0x15, 0x7c, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xeb, 0xfd]);
  sector.set(Buffer.from(`${word}\r\n\0`, 'latin1'), 0x15);
  sector.set([0x55, 0xaa], 510);
  return sector;
}
