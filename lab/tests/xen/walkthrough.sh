# limit: 1200
# The walkthrough of 2004 by xvd alone, in domain 0 of a real Xen: a pool on a partition, a disk filled through domain 0, a guest that
# boots from it, a second disk plugged while it runs, what must be refused, force, and a lease that ends with the guest running.
. /job/lab/inside/lib
fresh
drive=$(disk_of data0)
other=$(disk_of data1)
console=/var/log/xen/guest-web01.log
# The n-th line of that kind, on the guest's console.
seen() { [ "$(grep -c "$1" "$console")" -ge "$2" ]; }
# A line typed at the guest's console.
type_in() { echo "$1" >"$(xenstore-read "/local/domain/$(xl domid web01)/console/tty")"; }

step 'pool on a partition, two disks'
printf 'label: gpt\nsize=64MiB\nsize=1GiB\n' | sfdisk -q "$drive"
udevadm settle
xvd format "${drive}2" --extent-size 16M --force
xvd create 64M --name root
xvd create 32M --name data
daemon_up

step 'filled through domain 0'
xvd attach vd:root /dev/xvde 0 w
mkfs.ext4 -q -d /guest/root /dev/xvde
mount /dev/xvde /mnt
echo 'from domain 0' >/mnt/from-domain-0
umount /mnt
xvd detach /dev/xvde 0

step 'a guest boots from it'
cat >/run/web01.json <<'JSON'
{ "name": "web01", "hypervisor": "xen", "kernel": "/guest/vmlinux", "ramdisk": "/guest/initrd.cpio", "memory": "128M",
  "root": "/dev/xvda ro", "cmdline": "quiet xvd.write=hello", "disks": [{ "source": "vd:root", "target": "/dev/xvda", "mode": "w" }] }
JSON
xvd domain start /run/web01.json
until_true 120 seen 'guest: ready' 1
grep -q 'is mounted from /dev/xvda' "$console" || fail 'its root is elsewhere'
xvd domain list | grep -q 'web01.*xen' || fail 'not listed'
expect 6 xvd domain start /run/web01.json
has_vbds 1 web01 || fail 'a refused start has changed its VBDs'

step 'a second disk, while it runs'
xvd attach vd:data /dev/xvdb web01 w
until_true 30 seen 'guest: add /dev/xvdb' 1
xvd attach vd:data /dev/xvdb web01 w --json | grep -q '"changed":false' || fail 'the same again is no change'
type_in 'mke2fs /dev/xvdb; mount -t ext4 /dev/xvdb /mnt && echo typed && cp /etc/rc /mnt/copy; umount /mnt; echo un"mounted"'
until_true 60 seen '^unmounted' 1

xl list -v >"$LAB_RESULTS/xl-list"
xenstore-ls -f /local/domain/0/backend >"$LAB_RESULTS/xenstore"

step 'what Xen itself lets pass'
expect 4 xvd attach vd:data /dev/xvdc web01 w
expect 4 xvd attach vd:data /dev/xvdf 0 w
expect 6 xvd attach vd:root /dev/xvdb web01 r
expect 4 xvd attach "phy:${drive}2" /dev/xvdd web01 r
printf 'label: gpt\nsize=64MiB\nsize=64MiB\n' | sfdisk -q "$other"
udevadm settle
xvd attach "phy:$other" /dev/xvdd web01 w
expect 4 xvd attach "phy:${other}1" /dev/xvde web01 w
expect 4 xvd attach "phy:${other}2" /dev/xvde 0 r
expect 4 xvd format "${other}2" --force
xvd detach /dev/xvdd web01
mkfs.ext4 -q "${other}1"
mount "${other}1" /mnt
expect 4 xvd attach "phy:$other" /dev/xvdd web01 r
umount /mnt

step 'what another toolstack attached counts'
xl block-attach web01 "phy:${other}2" xvdh w
expect 4 xvd attach "phy:$other" /dev/xvdi 0 r
expect 6 xvd attach vd:data /dev/xvdh web01 r --expert 2
xl block-detach web01 xvdh
xvd attach "phy:$other" /dev/xvdi 0 r
xvd detach /dev/xvdi 0

step 'the daemon is killed and comes back: the guest has noticed nothing'
kill -9 "$daemon_pid"
wait "$daemon_pid" || true
daemon_up
has_vbds 2 web01 || fail 'its VBDs are not known'
expect 0 xvd check

step 'unplug, and again by force'
xvd detach /dev/xvdb web01
until_true 30 seen 'guest: remove /dev/xvdb' 1
xvd attach vd:data /dev/xvdb web01 w
until_true 30 seen 'guest: add /dev/xvdb' 2
type_in 'mount -t ext4 /dev/xvdb /mnt && echo moun"ted-again"'
until_true 30 seen '^mounted-again' 1
xvd detach /dev/xvdb web01 --force
has_vbds 1 web01 || fail 'force has not ended it'
expect 0 xvd check

step 'a lease ends with the guest running'
xvd create 32M --name short --expires 1h
xvd attach vd:short /dev/xvdg web01 w
until_true 30 seen 'guest: add /dev/xvdg' 1
xvd refresh short --expires 2s
until_true 60 has_vbds 1 web01
until_true 30 seen 'guest: remove /dev/xvdg' 1
xvd list --expired | grep -q short || fail 'not listed as expired'

step 'its number changes when it reboots, its VBDs do not'
before=$(xl domid web01)
xl reboot web01
until_true 120 seen 'guest: ready' 2
[ "$(xl domid web01)" != "$before" ] || fail 'it has not rebooted'
has_vbds 1 web01 || fail 'its VBDs have ended'
xvd vbds web01 --json | node -e '
  const vbds = JSON.parse(require("fs").readFileSync(0, "utf8")).map(({ domain, target }) => `${domain} ${target}`);
  require("assert").deepEqual(vbds, ["web01 /dev/xvda"]);'

step 'power off: its VBDs end with it'
xvd domain stop web01
until_true 60 has_vbds 0
[ -z "$(dmsetup ls --target linear | grep xvd-)" ] || fail 'a device is left'
xvd attach vd:root /dev/xvde 0 r
mount -o ro /dev/xvde /mnt
grep -q hello /mnt/written-by-guest
umount /mnt
xvd detach /dev/xvde 0
expect 0 xvd check
