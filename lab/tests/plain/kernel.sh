# The machine itself: a device-mapper and a kernel NBD that work, two data disks.
. /job/lab/inside/lib

step 'device-mapper'
disk=$(disk_of data0)
dmsetup create lab --table "0 2048 linear $disk 4096"
[ "$(blockdev --getsz /dev/mapper/lab)" = 2048 ] || fail 'size'
mkfs.ext4 -q /dev/mapper/lab
mount /dev/mapper/lab /mnt && echo hello >/mnt/file && umount /mnt
dmsetup suspend --noflush lab
dmsetup resume lab
dmsetup remove lab

step 'kernel NBD'
modprobe nbd
truncate -s 8M /var/tmp/image
qemu-nbd -f raw -x lab -k /run/lab-nbd.sock -t /var/tmp/image --fork --pid-file /run/lab-nbd.pid
nbd-client -unix /run/lab-nbd.sock -N lab /dev/nbd0
[ "$(blockdev --getsize64 /dev/nbd0)" = 8388608 ] || fail 'size'
dd if=/dev/urandom of=/dev/nbd0 bs=1M count=8 oflag=direct status=none
nbd-client -d /dev/nbd0
kill "$(cat /run/lab-nbd.pid)"
# As it was loaded here it reads partition tables: xvd would not use it.
until_true 20 rmmod nbd

step 'node'
node -e 'console.log(process.version)'
