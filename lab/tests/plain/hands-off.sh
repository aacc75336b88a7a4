# limit: 600
# What a guest writes is the guest's: the host's udev and LVM neither look at a partition table, LVM or RAID metadata on a VBD nor
# activate them. The same bytes on a device that is nobody's VBD show that this host would.
. /job/lab/inside/lib
fresh
cp /job/docs/xvd-lvm.conf /etc/lvm/lvmlocal.conf

# LVM's rule leaves the activation to a process of its own, which udev does not wait for: only once it has ended, nothing comes any more.
no_lvm() { ! pgrep -x 'lvm|pvscan|vgchange|systemd-run'; }

step 'what a guest could have written'
make_image() { truncate -s 32M "$1"; }
make_image /var/tmp/table; printf 'label: gpt\nsize=8MiB, uuid=11111111-2222-4333-8444-555555555555\n' | sfdisk -q /var/tmp/table
make_image /var/tmp/lvm
guest_lvm=$(losetup --find --show /var/tmp/lvm)
lvm pvcreate -q --config 'devices/global_filter=["a|.*|"]' "$guest_lvm"
lvm vgcreate -q --config 'devices/global_filter=["a|.*|"]' guests "$guest_lvm"
lvm lvcreate -q --config 'devices/global_filter=["a|.*|"]' -an -Zn -Wn -L 8M -n data guests
# udev may have met the group here already: LVM then notes it as online, and would not act on it a second time below.
udevadm settle
until_true 20 no_lvm
lvm vgchange -q -an --config 'devices/global_filter=["a|.*|"]' guests
losetup -d "$guest_lvm"
udevadm settle
rm -rf /run/lvm/pvs_online /run/lvm/vgs_online
# An md superblock, version 1.2, as far as it is looked at: magic, major version, UUID, place.
make_image /var/tmp/raid
node -e '
  const block = Buffer.alloc(256 + 2 * 2);
  block.writeUInt32LE(0xa92b4efc, 0); block.writeUInt32LE(1, 4); block.fill(0x5a, 16, 32); block.write("host:guest", 32);
  block.writeBigUInt64LE(32768n, 80); block.writeUInt32LE(2, 92); block.writeBigUInt64LE(2048n, 128); block.writeBigUInt64LE(60000n, 136);
  block.writeBigUInt64LE(8n, 144); block.writeUInt32LE(2, 220);
  let sum = 0n; for (let at = 0; at < 260; at += 4) sum += BigInt(block.readUInt32LE(at));
  block.writeUInt32LE(Number(((sum & 0xffffffffn) + (sum >> 32n)) & 0xffffffffn), 216);
  const file = require("fs").openSync("/var/tmp/raid", "r+"); require("fs").writeSync(file, block, 0, block.length, 4096);
'
make_image /var/tmp/filesystem; mkfs.ext4 -q -L guestdata /var/tmp/filesystem

property() { udevadm info --query=property --property="$2" --value "$1"; }

step 'without xvd the host acts on it'
for kind in table lvm raid filesystem; do
  losetup --find --show "/var/tmp/$kind" >/run/node
  dmsetup create "plain-$kind" --table "0 65536 linear $(cat /run/node) 0"
done
udevadm settle
[ "$(property /dev/mapper/plain-lvm ID_FS_TYPE)" = LVM2_member ] || fail 'the control shows no LVM'
[ "$(property /dev/mapper/plain-raid ID_FS_TYPE)" = linux_raid_member ] || fail 'the control shows no RAID'
[ "$(property /dev/mapper/plain-table ID_PART_TABLE_TYPE)" = gpt ] || fail 'the control shows no partition table'
[ -e /dev/disk/by-label/guestdata ] || fail 'the control has no link by label'
until_true 20 dmsetup info guests-data
until_true 20 lvm vgchange -q -an --config 'devices/global_filter=["a|.*|"]' guests
for kind in table lvm raid filesystem; do dmsetup remove --retry "plain-$kind"; done
losetup --detach-all
udevadm settle
rm -rf /run/lvm/pvs_online /run/lvm/vgs_online

step 'on VBDs it does not'
drive=$(disk_of data0)
printf 'label: gpt\nsize=512MiB\n' | sfdisk -q "$drive"
udevadm settle
xvd format "${drive}1" --extent-size 8M --force
daemon_up
n=0
for kind in table lvm raid filesystem; do
  target=/dev/xvd$(printf "\\$(printf %o $((97 + n)))")
  n=$((n + 1))
  xvd create 32M --name "$kind"
  expect 0 xvd attach "vd:$kind" "$target" 0 w
  dd if="/var/tmp/$kind" of="$target" bs=1M oflag=direct status=none
done
look() {
  udevadm trigger --action=change --subsystem-match=block
  udevadm settle
  until_true 20 no_lvm
  for target in /dev/xvda /dev/xvdb /dev/xvdc /dev/xvdd; do
    for name in ID_FS_TYPE ID_PART_TABLE_TYPE ID_FS_LABEL; do [ -z "$(property "$target" $name)" ] || fail "udev knows $name of $target"; done
  done
  [ ! -e /dev/disk/by-label/guestdata ] || fail 'a link by the label of a guest'
  ! dmsetup info guests-data >/dev/null 2>&1 || fail 'a volume of a guest is active'
  [ -z "$(lvm pvs --noheadings 2>/dev/null)" ] || fail 'LVM shows a volume of a guest'
  [ -z "$(lvm vgs --noheadings 2>/dev/null)" ] || fail 'LVM shows a group of a guest'
  [ -z "$(cat /proc/mdstat 2>/dev/null | grep ^md || true)" ] || fail 'an array of a guest'
  ! ls /dev/mapper | grep -v -e control -e '^xvd-' || fail 'something stands on a VBD'
}
look

step 'also when they are attached with that on them, and after the daemon has started again'
for target in xvda xvdb xvdc xvdd; do detach $target 0; done
attach vd:table xvda 0 w
attach vd:lvm xvdb 0 w
attach vd:raid xvdc 0 w
attach vd:filesystem xvdd 0 r
look
daemon_down
daemon_up
look
mount -o ro /dev/xvdd /mnt
umount /mnt
for target in xvda xvdb xvdc xvdd; do detach $target 0; done
expect 0 xvd check
rm /etc/lvm/lvmlocal.conf
