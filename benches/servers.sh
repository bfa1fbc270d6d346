# Servers under measurement, for the scripts beside this one: they start on free ports, are found by what they print, and
# end with the script. A script sets `root` first, sources this and then calls `prepare`.
#
# shellcheck shell=bash disable=SC2154

declare -A pids=() endpoints=()
started=()

# Where things are, and that they go again.
prepare() {
    work=$(mktemp -d)
    trap clean_up EXIT
    local target
    target=$(cd "$root" && cargo metadata --no-deps --format-version 1 |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
    if [ -z "${CIRCLET:-}" ]; then
        (cd "$root" && cargo build --quiet --release --locked --package circlet-server --bin circlet)
    fi
    circlet=${CIRCLET:-$target/circlet}
    if [ -z "${CIRCLET_BENCH:-}" ]; then
        (cd "$root" && cargo build --quiet --release --locked --package circlet-benches --bin circlet-bench)
    fi
    # Not every script measures with it.
    # shellcheck disable=SC2034
    bench=${CIRCLET_BENCH:-$target/circlet-bench}
}

machine() {
    echo "Machine: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r)."
    echo "Commit: $(git -C "$root" rev-parse --short HEAD)$(git -C "$root" diff --quiet HEAD || echo ', with changes')."
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing"
    done
}

# start_circlet SIDE NODES FLAG...: nodes that know each other, each ready
start_circlet() {
    local side=$1 nodes=$2 node log seeds='' logs=()
    shift 2
    pids[$side]='' endpoints[$side]=''
    for ((node = 0; node < nodes; node++)); do
        log=$work/circlet.$node
        "$circlet" server --bind 127.0.0.1 --port 0 --cluster-port 0 --peer-port 0 --admin-port 0 \
            "$@" ${seeds:+--seeds "$seeds"} >"$log" 2>"$log.err" &
        keep "$side" $!
        wait_line "$log" 'listening peer'
        seeds=${seeds:+$seeds,}$(awk '$2 == "peer" { print $3 }' "$log")
        logs+=("$log")
    done
    for log in "${logs[@]}"; do
        wait_line "$log" ready
        endpoints[$side]+=${endpoints[$side]:+,}$(awk '$2 == "client" { print $3 }' "$log")
    done
}

keep() {
    pids[$1]+=" $2"
    started+=("$2")
}

# A port that nobody listens on now. Whoever takes it must cope with losing the race.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        if ! { : <>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
            echo $port
            return
        fi
    done
}

# wait_listening PORT PID: false if the process ended instead
wait_listening() {
    while ! { : <>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null; do
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.05
    done
    kill -0 "$2" 2>/dev/null
}

wait_line() {
    local until=$((SECONDS + 30))
    while ! grep -q "^$2" "$1"; do
        [ $SECONDS -lt $until ] || { cat "$1.err" >&2; fail "a node printed no line '$2'"; }
        sleep 0.05
    done
}

# User and system time of a side's processes, in ticks.
cpu_ticks() {
    local pid sum=0 stat
    for pid in ${pids[$1]}; do
        stat=$(<"/proc/$pid/stat")
        read -r -a stat <<<"${stat##*) }"
        sum=$((sum + stat[11] + stat[12]))
    done
    echo $sum
}

stop() {
    local side
    for side in "$@"; do
        # shellcheck disable=SC2086
        kill -KILL ${pids[$side]}
        # shellcheck disable=SC2086
        wait ${pids[$side]} 2>/dev/null || true
    done
    started=()
}

clean_up() {
    [ ${#started[@]} -eq 0 ] || kill -KILL "${started[@]}" 2>/dev/null || true
    rm -rf "$work"
}


fail() {
    echo "${0##*/}: $1" >&2
    exit 1
}
