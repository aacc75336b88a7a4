# limit: 600
# Sectors that are not readable (scsi_debug): whoever reads them gets an error, and nobody else does.
. /job/lab/inside/lib

step 'sectors that are not readable: an error for them, and for nothing else'
fresh
daemon_up
scsi opts=2 medium_error_start=90112 medium_error_count=8
xvd format "$node" --extent-size 8M --force
xvd create 64M --name bad
for driver in dm nbd; do
  attach vd:bad xvda 0 w $driver
  xvd extents vd:bad --json >/run/extents
  first=$(node -p 'const [run] = JSON.parse(require("fs").readFileSync("/run/extents", "utf8")); 90112 - run.startSector')
  expect 1 dd if=/dev/xvda of=/dev/null bs=4096 skip=$((first / 8)) count=1 iflag=direct status=none
  expect 0 dd if=/dev/xvda of=/dev/null bs=4096 skip=$((first / 8 - 1)) count=1 iflag=direct status=none
  expect 0 dd if=/dev/xvda of=/dev/null bs=4096 skip=$((first / 8 + 1)) count=1 iflag=direct status=none
  expect 0 dd if=/dev/zero of=/dev/xvda bs=1M count=8 oflag=direct status=none
  detach xvda 0
done
expect 0 xvd check
daemon_down
no_scsi
