# limit: 900
# block-xvd, Xen's own hook: a guest of xl that names a disk of xvd keeps it through reboot, save and restore, takes another, is
# refused what somebody else has, and gives all back at its end.
. /job/lab/inside/lib
fresh
install -m 755 /job/docs/block-xvd /etc/xen/scripts/block-xvd
console=/var/log/xen/guest-hooked.log
seen() { [ "$(grep -c "$1" "$console")" -ge "$2" ]; }

step 'a pool, two disks, a guest of xl'
xvd format "$(disk_of data0)" --extent-size 16M
xvd create 64M --name root
xvd create 16M --name data
daemon_up
xvd attach vd:root /dev/xvde 0 w
mkfs.ext4 -q -d /guest/root /dev/xvde
expect 0 xvd detach /dev/xvde 0
configuration() {
  printf 'name = "%s"\nkernel = "/guest/vmlinux"\nramdisk = "/guest/initrd.cpio"\nmemory = 128\n' "$1"
  printf 'extra = "console=hvc0 root=/dev/xvda ro quiet"\ndisk = ["vdev=xvda,access=rw,script=block-xvd,target=vd:root"]\n'
}
configuration hooked >/run/hooked.cfg
configuration other >/run/other.cfg
xl create /run/hooked.cfg
until_true 120 seen 'guest: ready' 1
xvd vbds hooked
has_vbds 1 hooked || fail 'its disk is not known as attached'

step 'what the hook gave counts for everybody'
expect 4 xvd attach vd:root /dev/xvde 0 r
! xl create /run/other.cfg 2>"$LAB_RESULTS/refused" || fail 'a second guest has got the disk'
xl list
cat "$LAB_RESULTS/refused"
has_vbds 1 || fail 'the refused guest has left something'

step 'another disk by the hook'
xl block-attach hooked 'vdev=xvdb,access=rw,script=block-xvd,target=vd:data'
until_true 30 seen 'guest: add /dev/xvdb' 1
has_vbds 2 hooked || fail 'not known'
xl block-detach hooked xvdb
until_true 30 seen 'guest: remove /dev/xvdb' 1
until_true 30 has_vbds 1 hooked

step 'reboot'
before=$(xl domid hooked)
xl reboot hooked
until_true 120 seen 'guest: ready' 2
[ "$(xl domid hooked)" != "$before" ] || fail 'it has not rebooted'
has_vbds 1 hooked || fail 'lost by the reboot'

step 'save: it comes back, so nobody else may have its disk'
xl save hooked /var/tmp/saved
expect 4 xvd attach vd:root /dev/xvde 0 r
has_vbds 1 hooked || fail 'lost by the save'
xvd domain list
expect 0 xvd check

step 'restore'
xl restore /var/tmp/saved
has_vbds 1 hooked || fail 'lost by the restore'
echo 'remount=$(mount -o remount,rw / && echo "after-restore" >/after && sync && echo written); echo "root is $remount"' \
  >"$(xenstore-read "/local/domain/$(xl domid hooked)/console/tty")"
until_true 60 seen '^root is written' 1

step 'its end'
xl destroy hooked
until_true 60 has_vbds 0
expect 0 xvd check
xvd attach vd:root /dev/xvde 0 r
mount -o ro,noload /dev/xvde /mnt
grep -q after-restore /mnt/after
umount /mnt
xvd detach /dev/xvde 0
