# limit: 900
# F3, F6, F9: who shares sectors, as a real kernel tells it: partitions, the drive around them, device-mapper, swap, a mount, a program,
# a pool device. The verdicts are those of the semantics.
. /job/lab/inside/lib
fresh
drive=$(disk_of data0)
poolDrive=$(disk_of data1)

printf 'label: gpt\nsize=64MiB\nsize=64MiB\nsize=64MiB\nsize=64MiB\nsize=64MiB\n' | sfdisk -q "$drive"
udevadm settle
xvd format "$poolDrive" --extent-size 16M --force
xvd create 32M --name web
daemon_up

# meets EXISTING-MODE SOURCE: the verdicts of the table, for a new reader and a new writer, at level 0 and at the level that lets them
# in. `.` = shares nothing, `!` = refused at every level. Dry runs.
declare -A levels=([rr]=0 [rw]=1 [wr]=1 [ww]=2 [.r]=0 [.w]=0 [!r]=3 [!w]=3)
meets() {
  local existing=$1 source=$2 mode expert level
  echo "meets $*"
  for mode in r w; do
    level=${levels[$existing$mode]}
    for expert in 0 $((level < 2 ? level : 2)); do
      api POST /vbds "{\"source\":\"$source\",\"target\":\"xvdq\",\"domain\":\"other\",\"mode\":\"$mode\",\"expert\":$expert,\"driver\":\"nbd\",\"dryRun\":true}"
      if [ "$level" -gt "$expert" ]; then
        [[ $status = 409 && $answer == *"\"level\":$((level < 2 ? level : 2))"* ]]
      else
        [[ $status = 200 && $answer == *"\"sharing\":$level"* ]]
      fi || fail "$source ($mode) at level $expert, beside $existing: $status $answer"
      [ "$level" -gt 0 ] || break
    done
  done
}

step 'nobody'
meets . "phy:${drive}1"
meets . "phy:$drive"

step 'a partition attached as reader, as writer'
for mode in r w; do
  attach "phy:${drive}1" xvda viewer "$mode" nbd
  meets $mode "phy:${drive}1"
  meets $mode "phy:$drive"
  meets . "phy:${drive}2"
  detach xvda viewer
done

step 'the whole drive attached'
attach "phy:$drive" xvda viewer w nbd
meets w "phy:${drive}3"
meets w "phy:$drive"
detach xvda viewer

step 'the drive around a mounted partition'
mkfs.ext4 -q "${drive}2"
mount "${drive}2" /mnt
meets w "phy:$drive"
meets w "phy:${drive}2"
meets . "phy:${drive}1"
mount -o remount,ro /mnt
meets r "phy:$drive"
meets r "phy:${drive}2"
mount -o remount,rw /mnt

step 'a file on it: not its mount, but the loop device on it, and the partition below'
truncate -s 8M /mnt/img
meets . phy:/mnt/img
loop=$(losetup --find --show --read-only /mnt/img)
meets r phy:/mnt/img
losetup -d "$loop"
attach phy:/mnt/img xvda viewer w nbd
meets w phy:/mnt/img
detach xvda viewer
umount /mnt

step 'swap'
mkswap -q "${drive}3" || mkswap "${drive}3"
swapon "${drive}3"
meets w "phy:${drive}3"
meets w "phy:$drive"
meets . "phy:${drive}4"
swapoff "${drive}3"

step 'device-mapper on a partition'
dmsetup create lab-lv --table "0 65536 linear ${drive}4 2048"
udevadm settle
meets w "phy:${drive}4"
meets w "phy:$drive"
meets . phy:/dev/mapper/lab-lv
attach phy:/dev/mapper/lab-lv xvda viewer r nbd
meets r phy:/dev/mapper/lab-lv
detach xvda viewer
# Which looks at a device that was closed.
udevadm settle
dmsetup remove lab-lv

step 'a program that has it open'
sleep 1000 3<"${drive}5" &
reader=$!
meets r "phy:${drive}5"
meets r "phy:$drive"
kill "$reader"
wait "$reader" || true
sleep 1000 3<>"${drive}5" &
writer=$!
meets w "phy:${drive}5"
kill "$writer"
wait "$writer" || true

step 'held by the kernel for a filesystem elsewhere: its journal, which no mount names'
mke2fs -q -b 4096 -O journal_dev "${drive}5"
mkfs.ext4 -q -b 4096 -J device="${drive}5" "${drive}4"
mount "${drive}4" /mnt
meets w "phy:${drive}5"
meets . "phy:${drive}1"
umount /mnt

step 'the pool, and a disk in it'
meets ! "phy:$poolDrive"
meets . vd:web
attach vd:web xvda viewer w nbd
meets w vd:web
detach xvda viewer

step 'a refusal names the user, its range, and what would resolve it'
mount "${drive}2" /mnt
xvd attach "phy:$drive" xvdq viewer w --driver nbd --json >/run/refused || true
node -e '
  const { error } = JSON.parse(require("fs").readFileSync("/run/refused", "utf8"));
  const mount = error.conflicts.find(({ user }) => user === "mount");
  const start = Number(require("fs").readFileSync(`/sys/class/block/${process.argv[1].slice(5)}2/start`, "utf8"));
  if (error.code !== "SHARING_REFUSED" || error.level !== 2) throw new Error(JSON.stringify(error));
  if (mount.name !== "/mnt" || mount.device !== process.argv[1] || mount.startSector !== start || mount.sectors !== 131072) throw new Error(JSON.stringify(mount));
  if (!/Unmount \/mnt/.test(error.fix)) throw new Error(error.fix);
' "$drive"
umount /mnt
expect 0 xvd check
