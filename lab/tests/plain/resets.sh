# limit: 600
# resets
# The whole machine is reset (QEMU, from outside) RESETS times (2 if not said; `make lab-campaign` does 20) while disks are made,
# attached and written: after each the pool checks clean, nothing is attached that the catalog does not know, flushed data is there.
# This script runs at each boot.
. /job/lab/inside/lib
drive=$(disk_of data1)
blkid -t LABEL=xvdstate "$drive" >/dev/null || mkfs.ext4 -q -L xvdstate "$drive"
mount "$drive" /state
export XVD_STATE=/state/xvd XVD_RUN=/run/xvd
round=$(cat /state/round 2>/dev/null || echo 0)
if [ "$round" = 0 ]; then
  xvd format "$(disk_of data0)" --extent-size 8M --force
  xvd create 16M --name keep
fi
echo "boot $round: verify" | tee -a /state/log
node /job/lab/tests/plain/resets.ts verify /state 2>&1 | tee -a /state/log
[ "${PIPESTATUS[0]}" = 0 ] || fail 'after a reset'
cp /state/log "$LAB_RESULTS/boots"
[ "$round" -lt "${RESETS:-2}" ] || exit 0
echo $((round + 1)) >/state/round
sync -f /state
node /job/lab/tests/plain/resets.ts load /state
fail 'the load has ended'
