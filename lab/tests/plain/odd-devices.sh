# limit: 900
# Devices as they are sold: sectors of 4096 bytes; 512e with a discard that does not zero, at odd places (scsi_debug).
. /job/lab/inside/lib

pattern() { yes "old $1" | tr -d '\n' | dd of="$1" bs=1M count=90 iflag=fullblock oflag=direct status=none; }
zeros() { cmp -n "$2" "$1" /dev/zero; }

step 'sectors of 4096 bytes'
fresh
daemon_up
scsi sector_size=4096
pattern "$node"
xvd format "$node" --extent-size 8M --force
xvd create 16M --name big
xvd show vd:big --json | grep -q '"blockBytes": *4096' || fail 'the block size'
attach vd:big xvda 0 w
[ "$(blockdev --getss /dev/xvda)" = 4096 ] || fail 'sectors of the VBD'
[ "$(xvd vbds --json | grep -c '"driver": *"dm"')" = 1 ] || fail 'not by device-mapper'
zeros /dev/xvda 16777216
mkfs.ext4 -q /dev/xvda
mount /dev/xvda /mnt && echo hello >/mnt/hello && umount /mnt
detach xvda 0
attach vd:big xvda 0 w nbd
[ "$(blockdev --getss /dev/xvda)" = 4096 ] || fail 'sectors of the VBD by NBD'
mount /dev/xvda /mnt && grep -q hello /mnt/hello && umount /mnt
detach xvda 0
xvd delete big
xvd unformat "$node"
daemon_down
no_scsi

step '512e; a discard that does not zero, in units of 7 sectors from the 5th'
fresh
daemon_up
scsi sector_size=512 physblk_exp=3 lowest_aligned=7 lbpu=1 lbprz=0 unmap_granularity=7 unmap_alignment=5
pattern "$node"
xvd format "$node" --extent-size 8M --force
xvd create 24M --name wiped
attach vd:wiped xvda 0 w
zeros /dev/xvda 25165824
! blkdiscard -f /dev/xvda 2>/dev/null || fail 'a VBD that discards'
yes mine | dd of=/dev/xvda bs=1M count=24 iflag=fullblock oflag=direct status=none
detach xvda 0
xvd delete wiped
xvd create 80M --name next
attach vd:next xvda 0 r
zeros /dev/xvda 83886080
detach xvda 0
expect 0 xvd check
daemon_down
no_scsi
