# limit: 400
# The machine itself: a real Xen whose guest boots from a device-mapper disk, and takes and gives back another.
. /job/lab/inside/lib

step 'a disk for the guest'
disk=$(disk_of data0)
dmsetup create guest-root --table "0 131072 linear $disk 2048"
dmsetup create guest-data --table "0 16384 linear $disk 204800"
mkfs.ext4 -q -d /guest/root /dev/mapper/guest-root

step 'xl create'
cat >/run/guest.cfg <<'EOF'
name = "guest"
kernel = "/guest/vmlinux"
ramdisk = "/guest/initrd.cpio"
memory = 128
extra = "console=hvc0 root=/dev/xvda ro quiet xvd.write=hello"
disk = ["phy:/dev/mapper/guest-root,xvda,w"]
on_reboot = "destroy"
EOF
xl create /run/guest.cfg
console=/var/log/xen/guest-guest.log
until_true 90 grep -q 'guest: ready' "$console"
grep -q 'is mounted from /dev/xvda' "$console" || fail 'its root is elsewhere'

step 'hot-plug'
xl block-attach guest phy:/dev/mapper/guest-data xvdb w
until_true 30 grep -q 'guest: add /dev/xvdb' "$console"
xl block-detach guest xvdb
until_true 30 grep -q 'guest: remove /dev/xvdb' "$console"

step 'power off'
xl shutdown -w guest
until_true 30 dmsetup remove guest-root
dmsetup remove guest-data
