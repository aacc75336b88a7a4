#!/bin/sh
# Runs every benchmark (bench/*.bench.ts), or those named; each sets up its rivals, alternates with them, and prints ratios.
set -eu
cd "$(dirname "$0")/.."
node=$(sh scripts/node-path.sh)
[ $# -gt 0 ] || set -- bench/*.bench.ts
for file in "$@"; do
  if [ ! -f "$file" ]; then echo "bench: no $file" >&2; exit 2; fi
  printf '\n=== %s\n' "$file"
  "$node" "$file"
done
