# limit: 900
# Figures beside LVM and a raw partition, on the same machine and in the same run, alternating: printed as medians, with the spread.
# FIGURE_ROUNDS, 4 if not said; `make lab-campaign` does 20.
. /job/lab/inside/lib
set -o pipefail
fresh
printf 'label: gpt\nsize=1GiB\n' | sfdisk -q "$(disk_of data0)"
lvm pvcreate -q "$(disk_of data1)"
lvm vgcreate -q rival "$(disk_of data1)"
udevadm settle
xvd format "$(disk_of data0)1" --extent-size 16M --force
daemon_up
export FIGURE_ROUNDS=${FIGURE_ROUNDS:-4}
node /job/lab/tests/plain/figures.ts "$(disk_of data0)1" | tee "$LAB_RESULTS/figures"
# On the console too: the report is read from there.
sed 's/^/lab:   | /' "$LAB_RESULTS/figures" >/dev/console
daemon_down
lvm vgremove -qq -f rival
