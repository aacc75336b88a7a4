# limit: 900
# F2, F8: a pool on two partitions of one drive and on a logical one, by GPT and by MBR: what is written lies where the extents say,
# in the partition and nowhere else; names that end in digits, and drives that change their names, are no matter.
. /job/lab/inside/lib

# neighbours DRIVE PARTITION...: the bytes of the drive outside these partitions.
neighbours() {
  local drive=$1
  shift
  node -e '
    const { readFileSync, openSync, readSync } = require("fs");
    const { createHash } = require("crypto");
    const [drive, end, ...parts] = process.argv.slice(1);
    const holes = parts.map((part) => ["start", "size"].map((name) => Number(readFileSync(`/sys/class/block/${part.slice(5)}/${name}`, "utf8")) * 512));
    const fd = openSync(drive, "r"), hash = createHash("sha256"), block = Buffer.alloc(65536);
    for (let at = 0; at < Number(end); at += block.length) {
      if (holes.some(([start, size]) => at + block.length > start && at < start + size)) continue;
      readSync(fd, block, 0, block.length, at);
      hash.update(block);
    }
    console.log(hash.digest("hex"));
  ' "$drive" $((320 * 1024 * 1024)) "$@"
}

walk() {
  local scheme=$1 drive=$2 first=$3 second=$4
  step "$scheme: $first and $second"
  local before
  before=$(neighbours "$drive" "$first" "$second")
  expect 4 xvd format "$drive"
  xvd format "$first" --extent-size 16M --force
  xvd format "$second" --extent-size 16M --force
  expect 4 xvd format "$drive" --force
  # More than either partition has: extents of both.
  xvd create 128M --name "$scheme"
  xvd extents "vd:$scheme" --json >"$LAB_RESULTS/$scheme.json"
  expect 0 xvd attach "vd:$scheme" /dev/xvda 0 w
  node -e '
    const { readFileSync, openSync, writeSync, fsyncSync, readSync } = require("fs");
    const [file, first, second] = process.argv.slice(1);
    const extents = JSON.parse(readFileSync(file, "utf8"));
    if (extents.length < 2) throw new Error("one extent only");
    const ranges = [first, second].map((part) => ["start", "size"].map((name) => Number(readFileSync(`/sys/class/block/${part.slice(5)}/${name}`, "utf8"))));
    const vbd = openSync("/dev/xvda", "r+");
    let at = 0;
    for (const { device, startSector, sectors } of extents) {
      if (!ranges.some(([start, size]) => startSector >= start + 2048 && startSector + sectors <= start + size - 2048)) throw new Error(`outside: ${startSector}+${sectors}`);
      for (const sector of [0, sectors - 1]) writeSync(vbd, Buffer.alloc(512, `${device} ${startSector + sector}\n`), 0, 512, (at + sector) * 512);
      at += sectors;
    }
    fsyncSync(vbd);
  ' "$LAB_RESULTS/$scheme.json" "$first" "$second"
  dd if=/dev/urandom of=/dev/xvda bs=1M seek=40 count=20 oflag=direct status=none
  expect 0 xvd detach /dev/xvda 0
  node -e '
    const { readFileSync, openSync, readSync } = require("fs");
    const extents = JSON.parse(readFileSync(process.argv[1], "utf8"));
    for (const { device, startSector, sectors } of extents) {
      const fd = openSync(device, "r"), block = Buffer.alloc(512);
      for (const sector of [startSector, startSector + sectors - 1]) {
        readSync(fd, block, 0, 512, sector * 512);
        if (!block.equals(Buffer.alloc(512, `${device} ${sector}\n`))) throw new Error(`sector ${sector} of ${device} has ${block.toString("latin1", 0, 40)}`);
      }
    }
  ' "$LAB_RESULTS/$scheme.json"
  [ "$(neighbours "$drive" "$first" "$second")" = "$before" ] || fail 'bytes outside the partitions have changed'
  expect 0 xvd check
}

pool_of() {
  daemon_down
  fresh
  daemon_up
}

step 'GPT'
fresh
daemon_up
drive=$(disk_of data0)
printf 'label: gpt\nsize=32MiB\nsize=96MiB\nsize=32MiB\nsize=96MiB\n' | sfdisk -q "$drive"
udevadm settle
yes gpt | dd of="${drive}1" bs=1M count=32 iflag=fullblock oflag=direct status=none
yes gpt | dd of="${drive}3" bs=1M count=32 iflag=fullblock oflag=direct status=none
walk gpt "$drive" "${drive}2" "${drive}4"

step 'MBR, one of them logical'
pool_of
drive=$(disk_of data1)
printf "label: dos\n${drive}1 : size=32MiB, type=83\n${drive}2 : size=96MiB, type=83\n${drive}3 : size=128MiB, type=5\n${drive}5 : size=96MiB, type=83\n" | sfdisk -q "$drive"
udevadm settle
yes mbr | dd of="${drive}1" bs=1M count=32 iflag=fullblock oflag=direct status=none
walk mbr "$drive" "${drive}2" "${drive}5"
