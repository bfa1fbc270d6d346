#!/usr/bin/env bash
# redis-cli, standalone (`redis_cli.sh standalone`) and following redirections (`redis_cli.sh cluster`, option -c). The
# same work as the other clients (tests/src/clients.rs). Each command is a connection of its own, to the next address
# that takes one.
set -uo pipefail

if [ "$1" = cluster ]; then
    mode=(-c) list=$CIRCLET_CLUSTER_ADDRESSES
else
    mode=() list=$CIRCLET_CLIENT_ADDRESSES
fi
IFS=, read -r -a addresses <<<"$list"
name=redis-cli-$1
keys=20
commands=0
errors=0
turn=0

# ask EXPECTED ARGUMENTS...
ask() {
    local expected=$1 address reply attempt
    shift
    commands=$((commands + 1))
    for attempt in "${addresses[@]}"; do
        address=${addresses[turn % ${#addresses[@]}]}
        turn=$((turn + 1))
        reply=$(redis-cli "${mode[@]}" -h "${address%:*}" -p "${address##*:}" "$@" 2>&1)
        [[ $reply == *'Could not connect to Redis'*'Connection refused'* ]] || break
    done
    if [ "$reply" != "$expected" ]; then
        errors=$((errors + 1))
        echo "$name: $*: $reply instead of $expected" >&2
    fi
}

# Whether standard input has ended.
over() {
    local line status=0
    read -r -t 0.001 line || status=$?
    [ $status -eq 1 ]
}

round=0
until over; do
    round=$((round + 1))
    for ((key = 0; key < keys; key++)); do ask OK SET "$name:$key" "$key in round $round"; done
    for ((key = 0; key < keys; key++)); do ask "$key in round $round" GET "$name:$key"; done
    [ $round -gt 1 ] || echo working
done
for ((key = 0; key < keys; key++)); do ask "$key in round $round" GET "$name:$key"; done
echo "$name: $commands commands, $errors errors"
[ $errors -eq 0 ]
