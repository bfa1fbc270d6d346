#!/usr/bin/env bash
# Damaged traffic against every port of a running cluster, and clients and peers that make a node hold as much as it
# will: `tests/hostile.sh [SECONDS OF TRAFFIC] [SECONDS THAT A PEER IS AWAY]`; 600 and 300 unless given.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
built=${CARGO_TARGET_DIR:-$root/target}/release
(cd "$root" && cargo build --release --quiet --locked -p circlet-server --bin circlet -p circlet-tests --bin circlet-hostile)
export CIRCLET_BINARY=${CIRCLET_BINARY:-$built/circlet}
result=0
"$built/circlet-hostile" traffic --seconds "${1:-600}" || result=$?
"$built/circlet-hostile" memory --away-seconds "${2:-300}" || result=$?
exit "$result"
