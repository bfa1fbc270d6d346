#!/usr/bin/env bash
# The speed table of the README: Circlet beside Redis and beside twemproxy, in one run on one machine.
#
#   benches/speed.sh                  needs redis-server, redis-benchmark and nutcracker (Debian: redis, nutcracker)
#   benches/speed.sh --self-test      both sides are Redis, to see how far two equals differ on this machine
#
# RUNS (5), SECONDS_EACH (2) and KEYS (1000000) may be set; CIRCLET and CIRCLET_BENCH name other binaries.
#
# Only ratios count, taken from medians of runs that alternate between the two sides, because absolute figures change
# with the machine and with the hour. The client shares the cores with the servers, so a server that needs less CPU
# also leaves more to the client; the CPU per operation, user and system time of the server's processes by
# /proc/PID/stat, is the figure that does not depend on that.
#
# One node is measured by redis-benchmark, which spreads keys by chance, so the hit ratio of its GETs is printed as the
# servers count it. Three nodes are measured by circlet-bench, whose connections are spread over all nodes, which knows
# nothing about where keys live and which checks that every GET returns what was written.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
runs=${RUNS:-5}
each=${SECONDS_EACH:-2}
keys=${KEYS:-1000000}
self_test=
# shellcheck source=benches/servers.sh
. "$root/benches/servers.sh"

main() {
    case ${1:-} in
        --self-test) self_test=yes ;;
        '') ;;
        *) fail "unknown option $1" ;;
    esac
    need redis-server redis-cli redis-benchmark nutcracker
    prepare
    about
    one_node
    three_nodes
}

about() {
    machine
    echo "Redis $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'), $(nutcracker --version 2>&1 | sed -n 's/.*nutcracker-/twemproxy /p')."
    echo "$runs alternating runs of $each s; 64-byte values, $keys keys, 50 connections; medians."
}

# ---- one node ------------------------------------------------------------------------------------------------------

one_node() {
    start_subject ours 1 1
    start_redis theirs
    local side
    for side in ours theirs; do
        redis_benchmark $side set 64 $((keys * 5)) >/dev/null
    done
    printf '\n### One node, redis-benchmark\n\n'
    header 'Redis 7'
    local pipeline test
    for pipeline in 1 16 64; do
        for test in SET GET; do
            compare "$test" "$pipeline" single
        done
    done
    echo
    for side in ours theirs; do
        echo "Hits among the GETs, ${side/ours/$(subject)}: $(hit_ratio $side) %."
    done | sed 's/theirs/Redis/'
    stop ours theirs
}

# single SIDE TEST PIPELINE: operations per second and CPU microseconds per operation
single() {
    local requests=$((each * $(speed_guess "$3"))) before after rate
    before=$(cpu_ticks "$1")
    rate=$(redis_benchmark "$1" "${2,,}" "$3" "$requests")
    after=$(cpu_ticks "$1")
    awk -v rate="$rate" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v requests="$requests" \
        'BEGIN { print rate, ticks / hz * 1e6 / requests }'
}

redis_benchmark() {
    local address=${endpoints[$1]}
    redis-benchmark -h "${address%:*}" -p "${address##*:}" -t "$2" -P "$3" -n "$4" -c 50 -r "$keys" -d 64 --csv |
        awk -F'"' '$2 != "test" { print $4 }'
}

# What a run of a second does here, roughly, measured once per depth.
speed_guess() {
    local file=$work/guess.$1
    [ -e "$file" ] || redis_benchmark theirs get "$1" $((20000 * (1 + $1 / 4))) | cut -d. -f1 >"$file"
    cat "$file"
}

hit_ratio() {
    local address=${endpoints[$1]}
    redis-cli -h "${address%:*}" -p "${address##*:}" INFO stats | tr -d '\r' |
        awk -F: '/^keyspace_hits/ { hits = $2 } /^keyspace_misses/ { misses = $2 }
                 END { if (hits + misses > 0) printf "%.2f", 100 * hits / (hits + misses); else printf "not counted" }'
}

# ---- three nodes ---------------------------------------------------------------------------------------------------

three_nodes() {
    local replicas
    for replicas in 1 2; do
        start_subject ours 3 $replicas --threads 1
        start_twemproxy theirs
        local side
        for side in ours theirs; do
            bench_run $side --load-only --pipeline 64 --state "$work/$side.state" >/dev/null
        done
        printf '\n### Three nodes, RF=%d, a client that knows nothing\n\n' $replicas
        header 'twemproxy + 3 Redis 7'
        local pipeline test
        for pipeline in 1 16 64; do
            for test in SET GET; do
                compare "$test" "$pipeline" several
            done
        done
        stop ours theirs
        rm -f "$work"/*.state
    done
    printf '\nEvery GET of three nodes returned the last value written; any other would have ended this program.\n'
}

several() {
    local ratio=1 before after json
    [ "$2" = GET ] || ratio=0
    before=$(cpu_ticks "$1")
    json=$(bench_run "$1" --duration "$each" --pipeline "$3" --get-ratio $ratio --state "$work/$1.state")
    after=$(cpu_ticks "$1")
    awk -v rate="$(number "$json" commands_per_second)" -v commands="$(number "$json" commands)" \
        -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" \
        'BEGIN { print rate, ticks / hz * 1e6 / commands }'
}

bench_run() {
    local side=$1
    shift
    "$bench" --target "${endpoints[$side]}" --connections 50 --keys "$keys" --json --quiet "$@" 2>"$work/bench.log" ||
        { cat "$work/bench.log" >&2; fail "circlet-bench against $side"; }
}

number() {
    sed "s/.*\"$2\":\([0-9.]*\).*/\1/" <<<"$1"
}

# ---- the table -----------------------------------------------------------------------------------------------------

header() {
    echo "| command | P | $(subject) k op/s (CPU µs) | $1 k op/s (CPU µs) | speed | CPU |"
    echo '|---|---|---|---|---|---|'
}

# compare TEST PIPELINE MEASURE: one row
compare() {
    local ours=$work/ours.runs theirs=$work/theirs.runs run
    : >"$ours"
    : >"$theirs"
    for ((run = 0; run < runs; run++)); do
        "$3" ours "$1" "$2" >>"$ours"
        "$3" theirs "$1" "$2" >>"$theirs"
    done
    awk -v test="$1" -v pipeline="$2" \
        -v a="$(median "$ours" 1)" -v b="$(median "$ours" 2)" -v c="$(median "$theirs" 1)" -v d="$(median "$theirs" 2)" \
        'BEGIN { printf "| %s | %d | %.0f (%.2f) | %.0f (%.2f) | **%.2f×** | %.2f× |\n",
                 test, pipeline, a / 1000, b, c / 1000, d, a / c, (d > 0 ? b / d : 0) }'
}

median() {
    cut -d' ' -f"$2" "$1" | sort -g | awk '{ value[NR] = $1 }
        END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

subject() {
    if [ -n "$self_test" ]; then echo 'the same again'; else echo Circlet; fi
}

# ---- servers -------------------------------------------------------------------------------------------------------

# start_subject SIDE NODES REPLICAS FLAG...
start_subject() {
    if [ -z "$self_test" ]; then
        local side=$1 nodes=$2 replicas=$3
        shift 3
        start_circlet "$side" "$nodes" --replicas "$replicas" "$@"
    elif [ "$2" -eq 1 ]; then
        start_redis "$1"
    else
        start_twemproxy "$1"
    fi
}

start_redis() {
    pids[$1]='' endpoints[$1]=''
    one_redis "$1"
}

one_redis() {
    local port
    while :; do
        port=$(free_port)
        redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --io-threads 1 >"$work/redis.$port" &
        local pid=$!
        if wait_listening "$port" $pid; then
            break
        fi
    done
    keep "$1" "$pid"
    endpoints[$1]+=${endpoints[$1]:+,}127.0.0.1:$port
}

start_twemproxy() {
    pids[$1]='' endpoints[$1]=''
    one_redis "$1"
    one_redis "$1"
    one_redis "$1"
    local port pid
    while :; do
        port=$(free_port)
        {
            printf 'pool:\n  listen: 127.0.0.1:%d\n  hash: fnv1a_64\n  distribution: ketama\n' "$port"
            printf '  redis: true\n  timeout: 5000\n  servers:\n'
            tr ',' '\n' <<<"${endpoints[$1]}" | sed 's/.*/   - &:1/'
        } >"$work/twemproxy.$port"
        nutcracker --conf-file "$work/twemproxy.$port" --mbuf-size 16384 --stats-port "$(free_port)" \
            --output "$work/twemproxy.$port.log" &
        pid=$!
        if wait_listening "$port" $pid; then
            break
        fi
    done
    keep "$1" $pid
    endpoints[$1]=127.0.0.1:$port
}

main "$@"
