#!/usr/bin/env bash
# Which way of fixing the source port costs less: IP_LOCAL_PORT_RANGE narrowed to one port with
# IP_BIND_ADDRESS_NO_PORT (the kernel takes it at connect time), or SO_REUSEADDR with an explicit bind?
#
#   scripts/bench-port-choice.sh [CONNECTIONS [ROUNDS]]
#
# Each round runs both in turn against a fresh server in a network namespace of its own. One source address
# holds up to 64,000 of the connections, so its range is nearly full at the end: a search that grew with the
# fill would show. The swarm binds explicitly by itself when --ports reaches beyond ip_local_port_range, which
# is how the second way is chosen here.
set -euo pipefail
cd "$(dirname "$0")/.."
connections=${1:-100000} rounds=${2:-5}
cargo build --release --quiet --bin c10k-server --bin c10k-swarm
bin=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release
user=; [ "$(id -u)" = 0 ] || user=-Ur

one() { # FIRST PORT OF THE RANGE
    unshare $user -n bash -s "$bin" "$connections" "$1" <<'INNER'
set -euo pipefail
bin=$1 connections=$2 first=$3
ip link set lo up
sysctl -qw net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535 net.ipv4.ip_local_port_range="$first 65535"
coproc server { exec "$bin/c10k-server" --no-apply --events 2>/dev/null; }
read -r _ <&"${server[0]}"
"$bin/c10k-swarm" --no-apply --target "$connections" --ports 1024-65535 --hold 0s --close rst --json 2>/dev/null |
    python3 -c 'import json,sys; r=json.load(sys.stdin); c=r["connections"]; print(c["held"], round(r["rate"]["connects_per_second"]["mean"]), round(r["cpu"]["swarm_us_per_connection"],1))'
kill -TERM "$server_PID"
INNER
}

median() { sort -n | awk '{v[NR]=$1} END {print (NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2)}'; }
range=() explicit=() range_cpu=() explicit_cpu=()
printf '%-6s %-24s %-24s\n' round 'one-port range' 'explicit bind'
for round in $(seq "$rounds"); do
    read -r held_a rate_a cpu_a < <(one 1024)
    read -r held_b rate_b cpu_b < <(one 1025)
    [ "$held_a" = "$connections" ] && [ "$held_b" = "$connections" ] || { echo "short: $held_a, $held_b" >&2; exit 1; }
    range+=("$rate_a") explicit+=("$rate_b") range_cpu+=("$cpu_a") explicit_cpu+=("$cpu_b")
    printf '%-6s %-24s %-24s\n' "$round" "$rate_a/s, $cpu_a us" "$rate_b/s, $cpu_b us"
done
a=$(printf '%s\n' "${range[@]}" | median) b=$(printf '%s\n' "${explicit[@]}" | median)
ca=$(printf '%s\n' "${range_cpu[@]}" | median) cb=$(printf '%s\n' "${explicit_cpu[@]}" | median)
printf 'median %s/s, %s us of the swarm a connection against %s/s, %s us: ratio %s\n' "$a" "$ca" "$b" "$cb" \
    "$(awk "BEGIN {printf \"%.2f\", $a / $b}")"
