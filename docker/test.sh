#!/usr/bin/env bash
# The cluster in containers, end to end, by one command: build, three nodes, load, five nodes under load, two nodes in
# one step, one killed. After each step every key is read back through every node. Ends with 0 if nothing was lost,
# stale, wrong or an error; with 77 ("skipped") where there is no Docker Engine.
#
#   docker/test.sh            CIRCLET_KEYS=50000 and CIRCLET_BENCH=path/to/circlet-bench may be set
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
keys=${CIRCLET_KEYS:-50000}
bench=${CIRCLET_BENCH:-}
project=circlet-test-$$
work=$(mktemp -d)
load_pid=
step=0

main() {
    find_docker
    trap clean_up EXIT
    build
    say "three nodes"
    scale 3
    load_keys
    verify_all
    say "two more nodes join under load"
    start_load
    scale 5 verify_all
    verify_all
    stop_load
    say "three of five nodes leave in one step, under load"
    start_load
    scale 2
    stop_load
    verify_all
    say "one of two nodes is killed"
    kill_one
    verify_survivors
    echo "docker: passed"
}

find_docker() {
    if ! docker info >/dev/null 2>&1; then
        echo "docker: skipped, no Docker Engine answers"
        exit 77
    fi
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        echo "docker: skipped, there is no Compose"
        exit 77
    fi
    compose+=(--project-name "$project" --file "$here/compose.yaml")
}

build() {
    say "build"
    if [ -z "$bench" ]; then
        (cd "$here/.." && cargo build --release --locked --package circlet-benches --bin circlet-bench)
        bench=$(cd "$here/.." && cargo metadata --no-deps --format-version 1 |
            sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/circlet-bench
    fi
    "$here/base-images.sh"
    "${compose[@]}" build >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; fail "the image does not build"; }
    docker image inspect circlet --format 'image: {{.Size}} bytes, user {{.Config.User}}, stops by {{.Config.StopSignal}}'
}

# scale N [COMMAND]: brings the service to N nodes and runs COMMAND again and again until all of them are healthy.
scale() {
    "${compose[@]}" up --detach --no-build --no-recreate --scale "node=$1" >"$work/up.log" 2>&1 ||
        { tail -n 20 "$work/up.log"; fail "scaling to $1 nodes failed"; }
    local until=$((SECONDS + 120)) healthy
    while healthy=$(healthy_nodes | wc -l) && [ "$healthy" -ne "$1" ]; do
        [ $SECONDS -lt $until ] || { logs; fail "$healthy of $1 nodes are healthy after 120 s"; }
        "${2:-sleep}" 0.5
    done
    [ "$(nodes | wc -l)" -eq "$1" ] || fail "$(nodes | wc -l) containers run instead of $1"
    echo "$1 nodes are healthy"
}

nodes() {
    docker ps --quiet --filter "label=com.docker.compose.project=$project"
}

healthy_nodes() {
    docker ps --quiet --filter "label=com.docker.compose.project=$project" --filter health=healthy
}

# The client addresses inside the network of the healthy nodes, comma separated.
inner() {
    healthy_nodes | xargs docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}:6379' |
        paste -sd,
}

# Their published addresses.
published() {
    healthy_nodes | xargs -I{} docker port {} 6379/tcp | sed -n 's/^0\.0\.0\.0:/127.0.0.1:/p' | paste -sd,
}

load_keys() {
    "$bench" --target "$(published)" --load-only --keys "$keys" --prefix loaded: --pipeline 16 --connections 20 \
        --state "$work/loaded" --quiet || fail "loading $keys keys failed"
}

# Reads every loaded key through each healthy node, by its published port.
verify_all() {
    local report=$work/verify.log
    "$bench" --target "$(published)" --verify-only --state "$work/loaded" --connections 20 --pipeline 16 --quiet \
        >"$report" || { cat "$report"; fail "verifying the loaded keys failed"; }
    echo "verified: $keys keys through each of $(grep -c '^verify through' "$report") nodes, lost 0, stale 0, wrong 0"
    if [ -e "$work/mixed" ] && [ -z "$load_pid" ]; then
        "$bench" --target "$(published)" --verify-only --state "$work/mixed" --connections 20 --pipeline 16 --quiet \
            >"$report" || { cat "$report"; fail "verifying the keys of the mixed load failed"; }
        echo "verified: the last acknowledged version of each key of the mixed load as well"
    fi
}

# Twenty connections that read and write until they are told to stop. They connect inside the network, where the end of
# a connection is seen as the node makes it; a published port has a proxy in between.
start_load() {
    "$bench" --target "$(inner)" --duration 600 --connections 20 --keys 20000 --prefix mixed: --get-ratio 0.7 \
        --state "$work/mixed" --quiet >"$work/load.log" 2>&1 &
    load_pid=$!
}

stop_load() {
    kill -0 "$load_pid" 2>/dev/null || { cat "$work/load.log"; fail "the load ended by itself"; }
    kill -INT "$load_pid"
    local status=0
    wait "$load_pid" || status=$?
    load_pid=
    cat "$work/load.log"
    [ $status -eq 0 ] || { logs; fail "the load saw errors"; }
}

kill_one() {
    docker kill "$(nodes | head -n 1)" >/dev/null
    [ "$(nodes | wc -l)" -eq 1 ] || fail "more than one node is left"
}

# While the survivor takes over it may refuse; it may never answer wrongly. At the end it answers everything.
verify_survivors() {
    local until=$((SECONDS + 30)) began=$SECONDS state report=$work/verify.log
    for state in loaded mixed; do
        while :; do
            "$bench" --target "$(nodes | xargs -I{} docker port {} 6379/tcp | sed -n 's/^0\.0\.0\.0:/127.0.0.1:/p')" \
                --verify-only --state "$work/$state" --connections 20 --pipeline 16 --quiet --json \
                --allow-errors 1000000000 >"$report" 2>"$report.text" ||
                { cat "$report.text"; fail "the survivor lost keys"; }
            ! grep -q '"errors":0' "$report" || break
            [ $SECONDS -lt $until ] || { cat "$report.text"; fail "the survivor still refuses after 30 s"; }
        done
    done
    echo "verified: every key through the survivor, $((SECONDS - began)) s after the kill"
}

logs() {
    "${compose[@]}" logs --tail 30 2>&1 | tail -n 120
}

clean_up() {
    [ -z "$load_pid" ] || kill "$load_pid" 2>/dev/null || true
    "${compose[@]}" down --timeout 5 --remove-orphans >/dev/null 2>&1 || true
    rm -rf "$work"
}

say() {
    step=$((step + 1))
    printf '\n== docker %d: %s\n' "$step" "$1"
}

fail() {
    echo "docker: FAILED: $1"
    exit 1
}

main
