# limit: 600
# The contract of a data path, run on a real device-mapper, and what is its own.
. /job/lab/inside/lib
node --test --test-concurrency=1 /job/lab/tests/plain/dm-data-path.ts
