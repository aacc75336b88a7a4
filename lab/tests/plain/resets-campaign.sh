# campaign
# limit: 7200
# resets
export RESETS=20
. /job/lab/tests/plain/resets.sh
