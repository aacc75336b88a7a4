# limit: 600
# Two devices with one WWN (scsi_debug): an error that names both, unless they have labels.
. /job/lab/inside/lib

hosts=/sys/bus/pseudo/drivers/scsi_debug
# find_twin: waits for the second drive; $twin is its name.
find_twin() {
  until_true 20 sh -c "ls $hosts/adapter1/host*/target*/*:0/block/*"
  udevadm settle
  twin=/dev/$(ls $hosts/adapter1/host*/target*/*:0/block | head -n 1)
  [ "$(cat "/sys/block/${node#/dev/}/device/wwid")" = "$(cat "/sys/block/${twin#/dev/}/device/wwid")" ] || fail 'two WWNs'
}
# names_both COMMAND...: is refused, and says of which two.
names_both() {
  expect 4 "$@" 2>/run/refused
  cat /run/refused
  grep -q "$node" /run/refused && grep -q "$twin" /run/refused || fail 'not both are named'
}

step 'two devices with one WWN: an error that names both, unless they have labels'
fresh
daemon_up
scsi add_host=2 vpd_use_hostno=0 per_host_store=1
find_twin
names_both xvd format "$node" --no-label --extent-size 8M --force
names_both xvd attach "phy:$node" /dev/xvda 0 w
xvd format "$node" --extent-size 8M --force
xvd format "$twin" --extent-size 8M --force
xvd create 160M --name both
[ "$(xvd extents vd:both --json | grep -o '"device": *"[^"]*"' | sort -u | wc -l)" = 2 ] || fail 'not on both'
attach vd:both xvda 0 w
yes "mine and no other's" | dd of=/dev/xvda bs=1M count=160 iflag=fullblock oflag=direct status=none
yes "mine and no other's" | head -c 167772160 | cmp - /dev/xvda
detach xvda 0
expect 0 xvd check
xvd delete both
daemon_down
no_scsi

step 'a clone of a device of the pool that comes later: neither is used until it is gone'
fresh
daemon_up
scsi add_host=1 vpd_use_hostno=0 per_host_store=1
expect 0 xvd format "$node" --no-label --extent-size 8M --force
xvd create 16M --name mine
echo 1 >$hosts/add_host
find_twin
names_both xvd format "$twin" --no-label --extent-size 8M --force
names_both xvd format "$twin" --extent-size 8M --force
names_both xvd attach vd:mine /dev/xvda 0 w
names_both xvd create 8M
[ "$(xvd devices --json | grep -o '"device": *"' | wc -l)" = 1 ] || fail 'the clone is in the pool'
echo -1 >$hosts/add_host
until_true 20 test ! -e "$twin"
udevadm settle
attach vd:mine xvda 0 w
detach xvda 0
expect 0 xvd check
daemon_down
no_scsi
