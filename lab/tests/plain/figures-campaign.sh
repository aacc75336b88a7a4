# campaign
# limit: 3600
# The figures of figures.sh, as medians of 20.
export FIGURE_ROUNDS=20
. /job/lab/tests/plain/figures.sh
