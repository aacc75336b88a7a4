# limit: 600
# A device without any identity of its own (null_blk): known by its label, or taken by force.
. /job/lab/inside/lib

step 'no identity at all: by label, or by force'
fresh
daemon_up
modprobe null_blk nr_devices=1 gb=1 memory_backed=1 bs=4096
udevadm settle
expect 4 xvd format /dev/nullb0 --no-label --extent-size 8M
expect 0 xvd format /dev/nullb0 --extent-size 8M
xvd create 64M --name null
attach vd:null xvda 0 w
mkfs.ext4 -q /dev/xvda
mount /dev/xvda /mnt && echo hello >/mnt/hello && umount /mnt
detach xvda 0
attach vd:null xvda 0 r
mount -o ro,noload /dev/xvda /mnt && grep -q hello /mnt/hello && umount /mnt
detach xvda 0
expect 0 xvd check
daemon_down
until_true 20 rmmod null_blk
