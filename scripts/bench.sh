#!/bin/sh
# Runs every benchmark (bench/*.bench.ts), or those named; each sets up its rivals, alternates with them, and prints ratios.
# One that failed or missed its goal does not keep the others from running; the exit status is that of the worst.
set -eu
cd "$(dirname "$0")/.."
node=$(sh scripts/node-path.sh)
[ $# -gt 0 ] || set -- bench/*.bench.ts
for file in "$@"; do
  if [ ! -f "$file" ]; then echo "bench: no $file" >&2; exit 2; fi
done
left=''
for file in "$@"; do
  printf '\n=== %s\n' "$file"
  # As bin/xvd starts the daemon.
  "$node" --min-semi-space-size=16 "$file" || left="$left $file"
done
[ -z "$left" ] || { printf '\nbench: failed, or short of a goal:%s\n' "$left" >&2; exit 1; }
