#!/bin/sh
# Sets up what a checkout needs: the packages of the lock file, Node 26 among them, and with --system also
# the programs of Debian. Can be run again at any time, without a terminal; quick when nothing is to do.
# It never builds, and changes nothing outside the checkout but Debian's packages.
set -eu
exec </dev/null
cd "$(dirname "$0")/.."

say() { printf 'set-up: %s\n' "$*" >&2; }
fail() { say "$*"; exit 8; }

# Debian packages: what the tests, the demo, the benchmarks and the lab run or compile against.
SYSTEM_PACKAGES='qemu-system-x86 qemu-utils qemu-block-extra fio nbdkit libnbd-bin python3-libnbd nbd-client fuse3
busybox-static fdisk kmod cpio lvm2 e2fsprogs util-linux dmsetup ca-certificates gcc libc6-dev libxen-dev openssl
procps xz-utils zstd sqlite3 mmdebstrap'
# The same as programs, for hosts that are not Debian.
SYSTEM_PROGRAMS='qemu-system-x86_64 qemu-img qemu-io qemu-nbd qemu-storage-daemon fio nbdkit nbdinfo nbdcopy
fusermount3 busybox sfdisk cpio mke2fs dmsetup losetup blkid gcc openssl'

missing_packages() {
  # shellcheck disable=SC2086
  dpkg-query -W -f '${db:Status-Status} ${Package}\n' $SYSTEM_PACKAGES 2>/dev/null | sed -n 's/^installed //p' >"$tmp/installed" || true
  for package in $SYSTEM_PACKAGES; do grep -qx "$package" "$tmp/installed" || printf '%s ' "$package"; done
}

missing_programs() {
  for program in $SYSTEM_PROGRAMS; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1 || printf '%s ' "$program"
  done
}

install_system() {
  if ! command -v dpkg-query >/dev/null 2>&1; then
    missing=$(missing_programs)
    [ -z "$missing" ] || fail "install these programs, then run the same command again: $missing"
    return 0
  fi
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    # Built by hand or under another package's name is as good.
    [ -z "$(missing_programs)" ] || fail "run this, then the same command again: sudo apt-get install -y --no-install-recommends $missing"
    return 0
  fi
  apt_install "$missing"
}

apt_install() {
  say "installing Debian packages: $1"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o DPkg::Lock::Timeout=300 update >"$tmp/apt.log" 2>&1 || { cat "$tmp/apt.log" >&2; fail 'apt-get update failed'; }
  # shellcheck disable=SC2086
  apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install --no-install-recommends $1 >"$tmp/apt.log" 2>&1 ||
    { cat "$tmp/apt.log" >&2; fail "could not install: $1"; }
}

install_node_modules() {
  stamp=node_modules/.xvd-setup
  wanted=$(cat package-lock.json scripts/setup.sh | sha256sum)
  [ -f $stamp ] && [ "$(cat $stamp)" = "$wanted" ] && return 0
  if ! command -v npm >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then apt_install npm; else fail 'install npm (any Node from 18 on), then run the same command again'; fi
  fi
  say 'installing the packages of package-lock.json'
  # `npm ci` insists on entries for processors that nobody here has; so install what the lock file says, then hold the result against it.
  # No package of ours needs its install script: programs come ready in packages for each processor.
  npm install --no-save --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error --yes >"$tmp/npm.log" 2>&1 || { cat "$tmp/npm.log" >&2; fail 'npm install failed'; }
  node=$(sh scripts/node-path.sh) || fail 'the packages have no Node for this processor, and the one on the PATH is older than 26'
  "$node" -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 26 ? 0 : 1)' || fail "$node is not Node 26"
  "$node" scripts/check-installed.ts || fail 'what npm installed is not what package-lock.json names; remove node_modules and run the same command again'
  printf '%s\n' "$wanted" >$stamp
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
case ${1:-} in
  --system) install_system ;;
  '') ;;
  *) fail 'usage: scripts/setup.sh [--system]' ;;
esac
install_node_modules
