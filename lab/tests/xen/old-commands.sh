# limit: 900
# The walkthrough of 2004 by its own commands: format a partition, make disks, fill one in domain 0, boot a guest from it, give it another
# while it runs, and take everything back.
. /job/lab/inside/lib
fresh
PATH=/job/bin:$PATH
drive=$(disk_of data0)
console=/var/log/xen/guest-old01.log
seen() { [ "$(grep -c "$1" "$console")" -ge "$2" ]; }

step 'vd_format.py, vd_create.py'
printf 'label: dos\nsize=64MiB\nsize=512MiB\n' | sfdisk -q "$drive"
udevadm settle
vd_format.py "${drive}2" 4
vd_create.py 64 0 | tee "$LAB_RESULTS/created"
grep -q 'Virtual disk allocated as ID: 1\|ID' "$LAB_RESULTS/created" || fail 'no ID was told'
vd_create.py 16 3600
daemon_up

step 'add_vbd_to_dom.py: domain 0'
add_vbd_to_dom.py vd:1 xvde 0 rw
mkfs.ext4 -q -d /guest/root /dev/xvde
list_vbds.py
expect 1 add_vbd_to_dom.py vd:1 xvdf 0 rw
remove_vbd_from_dom.py xvde 0

step 'createlinuxdom.py'
cat >/run/old01.json <<'JSON'
{ "name": "old01", "kernel": "/guest/vmlinux", "ramdisk": "/guest/initrd.cpio", "memory": "128M", "root": "/dev/xvda ro", "cmdline": "quiet",
  "disks": [{ "source": "vd:1", "target": "/dev/xvda", "mode": "w" }] }
JSON
createlinuxdom.py /run/old01.json
until_true 120 seen 'guest: ready' 1

step 'hot-plug'
add_vbd_to_dom.py vd:2 xvdb old01 rw
until_true 30 seen 'guest: add /dev/xvdb' 1
list_vbds.py
expect 1 add_vbd_to_dom.py vd:2 xvdf 0
expect 1 vd_delete.py 2
remove_vbd_from_dom.py xvdb old01
until_true 30 seen 'guest: remove /dev/xvdb' 1
vd_refresh.py 2 7200
vd_delete.py 2

step 'the end'
xl shutdown -w old01
until_true 60 has_vbds 0
expect 0 xvd check
