#!/usr/bin/env bash
# redis-benchmark, run after run until standard input ends. It cannot make a connection again, so it is pointed at the
# last of the addresses, a node that stays; what joins and leaves are the others. It stops at the first error reply.
set -uo pipefail

address=${CIRCLET_CLIENT_ADDRESSES##*,}
runs=0
errors=0

over() {
    local line status=0
    read -r -t 0.001 line || status=$?
    [ $status -eq 1 ]
}

until over; do
    runs=$((runs + 1))
    output=$(redis-benchmark -h "${address%:*}" -p "${address##*:}" -t set,get,incr,mset -n 20000 -r 10000 -c 20 -P 4 \
        --csv 2>&1) || errors=$((errors + 1))
    if [[ $output == *[Ee]rror* || $(grep -c '^"' <<<"$output") -ne 5 ]]; then
        errors=$((errors + 1))
        echo "redis-benchmark: $output" >&2
    fi
    [ $runs -gt 1 ] || echo working
done
echo "redis-benchmark: $((runs * 80000)) commands, $errors errors"
[ $errors -eq 0 ]
