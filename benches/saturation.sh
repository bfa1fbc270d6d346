#!/usr/bin/env bash
# Whether nodes that have no processor time to spare still trust each other: three nodes, and on each of them
# `redis-benchmark -P 64 -c 200`, for a minute. Fails if anybody was suspected or judged, or a slot changed hands.
#
#   benches/saturation.sh             needs redis-benchmark and redis-cli (Debian: redis-tools)
#
# SECONDS_LONG (60) and REPLICAS (2) may be set; CIRCLET names another binary.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${SECONDS_LONG:-60}
replicas=${REPLICAS:-2}
# shellcheck source=benches/servers.sh
. "$root/benches/servers.sh"

main() {
    need redis-benchmark redis-cli
    prepare
    machine
    start_circlet nodes 3 --replicas "$replicas"
    local nodes node before after clients=() calm=yes
    IFS=, read -r -a nodes <<<"${endpoints[nodes]}"
    wait_settled
    before=$(for node in "${nodes[@]}"; do changes "$node"; done)
    for node in "${nodes[@]}"; do
        # It has no limit of time; it is given more requests than the time suffices for.
        timeout --signal=KILL "$seconds" redis-benchmark -h "${node%:*}" -p "${node##*:}" -t set,get -P 64 -c 200 \
            -n 2000000000 -r 1000000 -d 64 -q >/dev/null 2>&1 &
        clients+=($!)
    done
    for node in "${clients[@]}"; do
        wait "$node" 2>/dev/null || true
    done
    after=$(for node in "${nodes[@]}"; do changes "$node"; done)
    for node in "${nodes[@]}"; do
        echo "$node: $(figures "$node" | tr '\n' ' ')"
    done
    [ "$before" = "$after" ] || calm=
    stop nodes
    [ -n "$calm" ] || fail "something changed under load: before $before, after $after"
    echo "$seconds s of saturation: no suspicion, no verdict, no promotion, no session ended."
}

# Nodes say that they are ready as soon as all slots are served; until every slot is where it belongs, some more change
# hands.
wait_settled() {
    local until=$((SECONDS + 30)) was='' is
    while :; do
        is=$(for node in "${nodes[@]}"; do changes "$node"; done)
        [ "$is" != "$was" ] || return 0
        [ $SECONDS -lt $until ] || fail "slots still change hands"
        was=$is
        sleep 2
    done
}

# What must not change.
changes() {
    figures "$1" | grep -vE '^total_commands_processed'
}

figures() {
    redis-cli -h "${1%:*}" -p "${1##*:}" INFO everything | tr -d '\r' |
        grep -E '^(suspicions|verdicts|stalls|sessions_begun|lanes_overflowed|slots_acquired|total_commands_processed):'
}

main "$@"
