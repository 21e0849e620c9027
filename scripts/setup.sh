#!/bin/sh
# Everything that the sandbox and the tests need beyond npm: Debian packages and the two small native parts.
# Safe to run again: does nothing that is already done. Needs root only when a package is missing.
set -eu
cd "$(dirname "$0")/.."
missing=''
need() { # command or file, Debian package
  command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || missing="$missing $2"
}
PATH="$PATH:/usr/sbin:/sbin"
need ip iproute2
need ss iproute2
need nft nftables
need iptables iptables
need ip6tables iptables
need ipset ipset
need tcpdump tcpdump
need nsenter util-linux
need setpriv util-linux
need fallocate util-linux
need mount mount
need pgrep procps
need g++ g++
need gcc gcc
# The plugin is linked statically; g++ brings what that needs, another compiler may not.
[ -e "$(gcc -print-file-name=libc.a 2>/dev/null)" ] || missing="$missing libc6-dev"
need /usr/lib/cni/ptp containernetworking-plugins
[ -z "$missing" ] || {
  command -v apt-get >/dev/null 2>&1 || { echo "setup: please install:$missing" >&2; exit 1; }
  [ "$(id -u)" = 0 ] || { echo "setup: run as root, or first install:$missing" >&2; exit 1; }
  echo "setup: installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086 — a list of package names
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
sh scripts/native.sh
