# limit: 600
# Domain 0 by the kernel's NBD client (what a host without device-mapper gets): attach, fill, crash of the daemon, crash of the
# client, detach, force; and FUSE with a loop device where the kernel has no NBD either.
. /job/lab/inside/lib
fresh
xvd format "$(disk_of data0)" --extent-size 8M --force
daemon_up
xvd create 64M --name web

step 'attach, fill'
expect 0 xvd attach vd:web /dev/xvda 0 w --driver nbd
node=$(readlink /dev/xvda)
case $node in /dev/nbd*) ;; *) fail "not by kernel NBD: $node" ;; esac
[ "$(blockdev --getsize64 /dev/xvda)" = 67108864 ] || fail 'size'
mkfs.ext4 -q /dev/xvda
mount /dev/xvda /mnt
echo hello >/mnt/hello
expect 6 xvd detach /dev/xvda 0
expect 6 xvd attach vd:web /dev/xvdb 0 r --driver dm --expert 2
udevadm trigger --action=change --sysname-match="${node#/dev/}"
udevadm settle
[ -z "$(udevadm info --query=property --property=ID_FS_TYPE --value "$node")" ] || fail 'udev looked into it'

step 'the daemon is killed: I/O goes on, the next one takes over'
kill -9 "$daemon_pid"
wait "$daemon_pid" || true
echo more >/mnt/more && sync -f /mnt
daemon_up
[ "$(readlink /dev/xvda)" = "$node" ] || fail 'another node'
cat /mnt/hello /mnt/more
umount /mnt
expect 0 xvd detach /dev/xvda 0
[ ! -e /dev/xvda ] || fail 'the target is still there'
[ ! -e "/sys/block/${node#/dev/}/pid" ] || fail 'still connected'

step 'read-only; by force under a mount: gone at once, and that node is not used for the next'
expect 0 xvd attach vd:web /dev/xvda 0 r --driver nbd
! dd if=/dev/zero of=/dev/xvda bs=4k count=1 oflag=direct 2>/dev/null || fail 'a reader wrote'
mount -o ro,noload "$(readlink /dev/xvda)" /mnt
held=$(readlink /dev/xvda)
expect 0 xvd detach /dev/xvda 0 --force
expect 0 xvd attach vd:web /dev/xvda 0 w --driver nbd
[ "$(readlink /dev/xvda)" != "$held" ] || fail 'a node that is mounted was used again'
umount /mnt
expect 0 xvd detach /dev/xvda 0

step 'without kernel NBD: FUSE and a loop device'
daemon_down
rmmod nbd
mv /usr/sbin/nbd-client /usr/sbin/nbd-client.away
daemon_up
expect 0 xvd attach vd:web /dev/xvda 0 w --driver nbd
case $(readlink /dev/xvda) in /dev/loop*) ;; *) fail 'not by a loop device' ;; esac
mount /dev/xvda /mnt && cat /mnt/hello && umount /mnt
expect 0 xvd detach /dev/xvda 0
mv /usr/sbin/nbd-client.away /usr/sbin/nbd-client
expect 0 xvd check
