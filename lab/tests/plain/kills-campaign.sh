# campaign
# limit: 7200
KILLS=100
export KILLS
. /job/lab/tests/plain/kills.sh
