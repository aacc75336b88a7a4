# limit: 300
# Programs in domain 0 beside a busy guest: none may crash. It shows whether the emulated processor and Xen keep what a program has in its
# registers; when they do not, any other test of this machine may fail for no reason of its own. HOLD_SECONDS for a longer look.
. /job/lab/inside/lib
seconds=${HOLD_SECONDS:-20}

step 'a guest that is busy'
disk=$(disk_of data0)
dmsetup create busy-root --table "0 131072 linear $disk 2048"
mkfs.ext4 -q -d /guest/root /dev/mapper/busy-root
cat >/run/busy.cfg <<'EOC'
name = "busy"
kernel = "/guest/vmlinux"
ramdisk = "/guest/initrd.cpio"
memory = 128
extra = "console=hvc0 root=/dev/xvda ro quiet"
disk = ["phy:/dev/mapper/busy-root,xvda,w"]
EOC
xl create /run/busy.cfg
until_true 90 grep -q 'guest: ready' /var/log/xen/guest-busy.log
echo 'while :; do md5sum /bin/busybox; done >/dev/null' >"$(xenstore-read "/local/domain/$(xl domid busy)/console/tty")"

step 'programs beside it'
cat >/run/work.js <<'JS'
const zlib = require('zlib');
let sum = 0.5;
const end = performance.now() + 1500;
while (performance.now() < end) {
  const twist = new Function('list', `return list.map((x) => x * ${sum})`);
  const list = twist(Array.from({ length: 500 }, (_, n) => n * sum));
  sum = (list.reduce((a, b) => a + b, 0) % 7) + 0.25;
  const text = list.join(' ');
  if (zlib.inflateSync(zlib.deflateSync(text)).toString() !== text) throw new Error('other bytes came back');
}
JS
again() {
  local until=$((SECONDS + seconds)) times=0
  while [ "$SECONDS" -lt "$until" ]; do
    "$@" >/dev/null || { echo "status $?: $*"; return 1; }
    times=$((times + 1))
  done
  echo "$times times: $*"
}
again node /run/work.js & first=$!
again xvd --version & second=$!
again date & third=$!
wait "$first" && wait "$second" && wait "$third" || fail 'a program has crashed'

xl destroy busy
until_true 30 dmsetup remove busy-root
