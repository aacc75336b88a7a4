// Linux packs a device's number into one integer for user space (`st_rdev`, `st_dev`); /sys and sector spaces name it `MAJ:MIN`.

export function deviceNumber(packed: number): string {
  const low = packed % 2 ** 32;
  const major = ((low >>> 8) & 0xfff) + Math.floor(packed / 2 ** 44) * 4096;
  const minor = (low & 0xff) + ((low >>> 20) & 0xfff) * 256;
  return `${major}:${minor}`;
}
