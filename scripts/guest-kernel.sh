#!/bin/sh
# Prints a folder with a guest's kernel, `vmlinuz`, and its modules, `lib/modules/VERSION`: Debian's kernel for virtual
# machines, taken out of its package without installing it. Kept in .cache; quick when it is there.
set -eu
exec </dev/null
cd "$(dirname "$0")/.."
cache=$PWD/.cache/guest-kernel

fail() { printf 'guest kernel: %s\n' "$*" >&2; exit 8; }
newest() { apt-cache depends --no-recommends --no-suggests linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1; }

if [ -e "$cache/vmlinuz" ]; then printf '%s\n' "$cache"; exit 0; fi
command -v apt-get >/dev/null 2>&1 || fail "this host is not Debian: put a kernel and its modules into $cache (vmlinuz, lib/modules/VERSION)"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

package=$(newest)
if [ -z "$package" ] || ! (cd "$tmp" && apt-get -qq download "$package") >"$tmp/log" 2>&1; then
  # The lists of packages are missing or old.
  [ "$(id -u)" = 0 ] || fail 'run this, then the same command again: sudo apt-get update'
  apt-get -qq -o DPkg::Lock::Timeout=300 update >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; fail 'apt-get update failed'; }
  package=$(newest)
  [ -n "$package" ] || fail 'no package linux-image-cloud-amd64 is known here'
  (cd "$tmp" && apt-get -qq download "$package") >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; fail "could not download $package"; }
fi
dpkg-deb -x "$tmp/$package"_*.deb "$tmp/tree"

# Into place at once, so that a run that was stopped leaves nothing half.
mkdir -p "$PWD/.cache"
half=$cache.$$
mkdir "$half"
cp "$tmp"/tree/boot/vmlinuz-* "$half/vmlinuz"
cp -r "$tmp/tree/lib" "$half/lib"
mv -T "$half" "$cache" 2>/dev/null || rm -rf "$half"
printf '%s\n' "$cache"
