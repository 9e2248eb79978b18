# What scripts that run two ways of one thing in turn have in common. Sourced by them; not a program of its own.
# shellcheck shell=bash

cargo build --release --quiet --bin c10k-server --bin c10k-swarm
bin=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release
user=()
[ "$(id -u)" = 0 ] || user=(-Ur)

# One run in a network namespace of its own: CONNECTIONS FIRST_PORT SERVER_FLAGS SWARM_FLAGS. Prints the mean rate and
# the swarm's processor time a connection; fails if not all are held.
one() {
    unshare "${user[@]}" -n bash -s "$bin" "$@" <<'INNER'
set -euo pipefail
bin=$1 connections=$2 first=$3
read -ra server_flags <<<"$4"
read -ra swarm_flags <<<"$5"
ip link set lo up
sysctl -qw net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535 net.ipv4.ip_local_port_range="$first 65535"
coproc server { exec "$bin/c10k-server" --no-apply --events "${server_flags[@]}" 2>/dev/null; }
read -r _ <&"${server[0]}"
"$bin/c10k-swarm" --no-apply --target "$connections" "${swarm_flags[@]}" --hold 0s --close rst --json 2>/dev/null |
    python3 -c '
import json, sys
r = json.load(sys.stdin)
held = r["connections"]["held"]
if held != int(sys.argv[1]):
    sys.exit(f"short: {held} of {sys.argv[1]} are held")
print(round(r["rate"]["connects_per_second"]["mean"]), round(r["cpu"]["swarm_us_per_connection"], 1))' "$connections"
kill -TERM "$server_PID"
INNER
}

median() { sort -n | awk '{v[NR]=$1} END {print (NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2)}'; }

# Runs both ways ROUNDS times in turn and prints rounds, medians and their ratio: ROUNDS NAME_A NAME_B WAY_A WAY_B,
# where a way is a function that runs `one`.
pair() {
    local rounds=$1 name_a=$2 name_b=$3 way_a=$4 way_b=$5 round rate_a cpu_a rate_b cpu_b
    local a=() b=() ca=() cb=()
    printf '%-6s %-24s %-24s\n' round "$name_a" "$name_b"
    for round in $(seq "$rounds"); do
        read -r rate_a cpu_a < <("$way_a")
        read -r rate_b cpu_b < <("$way_b")
        [ -n "$rate_a" ] && [ -n "$rate_b" ] || exit 1
        a+=("$rate_a") b+=("$rate_b") ca+=("$cpu_a") cb+=("$cpu_b")
        printf '%-6s %-24s %-24s\n' "$round" "$rate_a/s, $cpu_a us" "$rate_b/s, $cpu_b us"
    done
    rate_a=$(printf '%s\n' "${a[@]}" | median) rate_b=$(printf '%s\n' "${b[@]}" | median)
    cpu_a=$(printf '%s\n' "${ca[@]}" | median) cpu_b=$(printf '%s\n' "${cb[@]}" | median)
    printf 'median %s/s, %s us of the swarm a connection against %s/s, %s us: ratio %s\n' "$rate_a" "$cpu_a" \
        "$rate_b" "$cpu_b" "$(awk "BEGIN {printf \"%.2f\", $rate_a / $rate_b}")"
}
