# limit: 400
# F2, F8: the walkthrough of 2004 on a partition that does not start at sector 0: what domain 0 is given lies where the extents say,
# the partition's neighbour keeps every byte, and the lease's end gives the space back.
. /job/lab/inside/lib
fresh
drive=$(disk_of data0)

step 'two partitions on one drive'
printf 'label: gpt\nsize=64MiB\nsize=512MiB\n' | sfdisk -q "$drive"
udevadm settle
first=${drive}1 second=${drive}2
yes neighbour | dd of="$first" bs=1M count=64 iflag=fullblock oflag=direct status=none
before=$(sha256sum <"$first")

step 'pool and disk'
expect 4 xvd format "$drive"
xvd format "$second" --extent-size 16M --force
expect 4 xvd format "$drive" --force
xvd create 128M --name web --expires 1h
xvd extents vd:web --json | tee "$LAB_RESULTS/extents.json"
node -e '
  const [run] = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
  const start = Number(require("fs").readFileSync(`/sys/class/block/${process.argv[3].slice(5)}/start`, "utf8"));
  if (run.device !== process.argv[2]) throw new Error(`the drive is ${run.device}`);
  if (run.startSector < start) throw new Error(`extent at ${run.startSector}, the partition begins at ${start}`);
' "$LAB_RESULTS/extents.json" "$drive" "$second"

step 'attach to domain 0, fill, detach'
daemon_up
xvd attach vd:web /dev/xvda 0 w
mkfs.ext4 -q /dev/xvda
mount /dev/xvda /mnt
echo 'hello from domain 0' >/mnt/hello
expect 6 xvd detach /dev/xvda 0
umount /mnt
expect 4 xvd attach vd:web /dev/xvdb 0 w
xvd detach /dev/xvda 0
[ ! -e /dev/xvda ] || fail 'the target is still there'

step 'what it wrote is on the drive, where the extents are'
start=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"))[0].startSector' "$LAB_RESULTS/extents.json")
dd if="$drive" of=/var/tmp/disk.img bs=512 skip="$start" count=$((128 * 2048)) status=none
debugfs -R 'cat /hello' /var/tmp/disk.img | grep -q 'hello from domain 0' || fail 'not there'
[ "$(sha256sum <"$first")" = "$before" ] || fail 'the neighbour partition has changed'

step 'the lease ends while attached'
xvd attach vd:web /dev/xvda 0 w
xvd refresh web --expires 2s
until_true 60 test ! -e /dev/xvda
until_true 20 has_vbds 0
xvd list --expired | grep -q web || fail 'not listed as expired'
xvd restore web
expect 0 xvd check
