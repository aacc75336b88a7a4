// Where the disks of a domain turn up inside a QEMU guest. Pure.
//
// A virtio disk is named by the guest's kernel, in the order of PCI slots: /dev/vda, /dev/vdb … So the disks of a description get
// their slots in the order of their numbers (xvda before xvdb): the first is vda, whatever its target, and `root=` is rewritten
// with them. A disk that is plugged in later takes the next name that is free in the guest. What never changes is the serial
// number: with udev the guest finds the disk vd:5 as /dev/disk/by-id/virtio-vd-5.

/** By target (`/dev/xvda`), the name in the guest (`/dev/vda`). */
export function guestNames(disks: readonly { readonly target: string; readonly vdev: number }[]): ReadonlyMap<string, string> {
  const sorted = disks.toSorted((a, b) => a.vdev - b.vdev);
  return new Map(sorted.map(({ target }, index) => [target, `/dev/vd${String.fromCharCode(0x61 + index)}`]));
}

/** The kernel's arguments with the targets of `root=` and `resume=` as the guest sees them; a partition of a disk keeps its number. */
export function rewriteRoot(commandLine: string, names: ReadonlyMap<string, string>): string {
  return commandLine
    .split(' ')
    .map((word) => word.replace(/^(root|resume)=(\S+)$/, (_, key: string, device: string) => `${key}=${guestDevice(device, names)}`))
    .join(' ');
}

function guestDevice(device: string, names: ReadonlyMap<string, string>): string {
  const whole = names.get(device);
  if (whole !== undefined) return whole;
  const [, disk, partition] = /^(\/dev\/[a-z]+)(\d+)$/.exec(device) ?? [];
  const name = disk === undefined ? undefined : names.get(disk);
  return name === undefined ? device : `${name}${partition}`;
}
