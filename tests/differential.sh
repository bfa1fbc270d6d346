#!/usr/bin/env bash
# Sends the same random commands to circlet and to Valkey 9.1 and compares the replies: DIFFERENTIAL_COMMANDS (1,100,000)
# in all, two of three on one node, the others on three. With arguments, one run with these (see
# `circlet-differential --help`). Reports go to DIFFERENTIAL_REPORTS, or beside the programs.
# Exit codes: 0 no difference, 1 a difference, 77 there is no Valkey here.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
built=${CARGO_TARGET_DIR:-$root/target}/release
reports=${DIFFERENTIAL_REPORTS:-$built}

main() {
    local valkey result=0
    valkey=$("$root/tests/reference/valkey") || skip $?
    (cd "$root" && cargo build --release --quiet -p circlet-server --bin circlet -p circlet-tests --bin circlet-differential)
    local program=("$built/circlet-differential" --valkey "$valkey/valkey-server" --circlet "$built/circlet")
    if [ $# -gt 0 ]; then
        exec "${program[@]}" "$@"
    fi
    local part=$((${DIFFERENTIAL_COMMANDS:-1100000} / 3)) nodes commands seed
    for run in "1 $((2 * part)) 20240501" "3 $part 20240502"; do
        read -r nodes commands seed <<<"$run"
        "${program[@]}" --nodes "$nodes" --commands "$commands" --seed "$seed" \
            --report "$reports/differential-$nodes.md" || result=$?
    done
    exit "$result"
}

skip() {
    [ "$1" -eq 77 ] || exit "$1"
    echo "skipped: there is no Valkey to compare with"
    exit 77
}

main "$@"
