#!/usr/bin/env bash
# Real faults on real nodes: `tests/chaos.sh [OPTIONS]`, see `--help`. It needs root, iproute2 and iptables: the nodes run in
# network namespaces, and what goes between them is lost or cut by rules there.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
built=${CARGO_TARGET_DIR:-$root/target}/release
for tool in ip iptables unshare; do
    if ! command -v "$tool" > /dev/null; then
        echo "skipped: there is no $tool here"
        exit 77
    fi
done
if ! unshare --net true 2> /dev/null; then
    echo "skipped: network namespaces are not allowed here"
    exit 77
fi
(cd "$root" && cargo build --release --quiet --locked -p circlet-server --bin circlet -p circlet-tests --bin circlet-chaos)
export CIRCLET_BINARY=${CIRCLET_BINARY:-$built/circlet}
exec unshare --net -- "$built/circlet-chaos" "$@"
