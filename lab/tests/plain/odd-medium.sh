# limit: 600
# Sectors that are not readable (scsi_debug): whoever reads them gets an error, and nobody else does.
. /job/lab/inside/lib

# scsi NAME=VALUE...: a drive of scsi_debug; $node is its name.
scsi() {
  modprobe scsi_debug dev_size_mb=96 num_tgts=1 delay=0 "$@"
  udevadm settle
  node=/dev/$(ls /sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*:0/block | head -n 1)
}
no_scsi() { until_true 20 rmmod scsi_debug; }

step 'sectors that are not readable: an error for them, and for nothing else'
fresh
daemon_up
scsi opts=2 medium_error_start=90112 medium_error_count=8
xvd format "$node" --extent-size 8M --force
xvd create 64M --name bad
for driver in dm nbd; do
  expect 0 xvd attach vd:bad /dev/xvda 0 w --driver $driver
  xvd extents vd:bad --json >/run/extents
  first=$(node -p 'const [run] = JSON.parse(require("fs").readFileSync("/run/extents", "utf8")); 90112 - run.startSector')
  expect 1 dd if=/dev/xvda of=/dev/null bs=4096 skip=$((first / 8)) count=1 iflag=direct status=none
  expect 0 dd if=/dev/xvda of=/dev/null bs=4096 skip=$((first / 8 - 1)) count=1 iflag=direct status=none
  expect 0 dd if=/dev/xvda of=/dev/null bs=4096 skip=$((first / 8 + 1)) count=1 iflag=direct status=none
  expect 0 dd if=/dev/zero of=/dev/xvda bs=1M count=8 oflag=direct status=none
  expect 0 xvd detach /dev/xvda 0
done
expect 0 xvd check
daemon_down
no_scsi
