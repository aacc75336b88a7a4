# limit: 900
# kill -9 of every command at random moments (KILLS times, 8 if not said), every third time of the daemon too: after each the pool
# checks clean, nothing is attached that the catalog does not know, and flushed data is there. `make lab-campaign` does it 100 times.
. /job/lab/inside/lib
fresh
printf 'label: gpt\nsize=512MiB\nsize=64MiB\n' | sfdisk -q "$(disk_of data0)"
udevadm settle
xvd format "$(disk_of data0)1" --extent-size 8M --force
xvd create 16M --name keep
node /job/lab/tests/plain/kills.ts "$(disk_of data0)2"
