#!/bin/sh
# Builds the two native parts: .build/sys.node (lib/linux) and .build/istio-cni (cni/plugin, static: it runs on hosts
# that have nothing of ours). Plain compilers and packaged headers, no network. Does nothing when both are up to date.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .build
include=$(find node_modules/node-linux-*/include/node -maxdepth 0 2>/dev/null | head -n 1)
[ -n "$include" ] || { echo 'native: node headers are missing: run `npm ci` first' >&2; exit 1; }
fresh() { [ "$1" -nt "$2" ] && [ "$1" -nt scripts/native.sh ]; }
# Compiled aside and renamed, so that a running process never sees half a file.
if ! fresh .build/sys.node lib/linux/sys.cc; then
  g++ -std=c++17 -O2 -Wall -Wextra -Wno-cast-function-type -fno-exceptions -shared -fPIC -I"$include" lib/linux/sys.cc -o .build/sys.node.$$
  mv .build/sys.node.$$ .build/sys.node
fi
if [ -e cni/plugin/main.c ] && ! fresh .build/istio-cni cni/plugin/main.c; then
  gcc -std=c11 -Os -Wall -Wextra -Werror -D_FORTIFY_SOURCE=2 -fstack-protector-strong -static -s cni/plugin/main.c -o .build/istio-cni.$$
  mv .build/istio-cni.$$ .build/istio-cni
fi
