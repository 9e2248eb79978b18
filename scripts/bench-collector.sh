#!/usr/bin/env bash
# What watching costs: holds connections in a network namespace of its own, watches their server with a look a second,
# and prints the collector's share of one core. Exits 1 when that is 2 % or more, with all it does at its begin and its
# end: finding the process, and counting every socket twice.
#
#   scripts/bench-collector.sh [CONNECTIONS [SECONDS]]      100000 and 60 where nothing is said
#
# Needs root, or a system that lets users make namespaces; nothing outside of the namespace is changed.
# BIN names a folder with the programs; without it they are built for release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

connections=${1:-100000}
seconds=${2:-60}
most=0.02
port=9000

if [[ ${C10K_BENCH_INSIDE:-} != yes ]]; then
  if [[ -z ${BIN:-} ]]; then
    cargo build --release -p c10k-server -p c10k-swarm -p c10k-collector >&2
    BIN=${CARGO_TARGET_DIR:-target}/release
  fi
  export BIN C10K_BENCH_INSIDE=yes
  if (( $(id -u) == 0 )); then
    exec unshare --net "${BASH_SOURCE[0]}" "$@"
  fi
  exec unshare --user --map-root-user --net "${BASH_SOURCE[0]}" "$@"
fi

work=$(mktemp -d)
pids=()
clean_up() {
  local pid
  for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT

# Waits until a line of a file holds a text, or its writer has ended.
await() {
  local file=$1 text=$2 pid=$3
  until grep -q "$text" "$file" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || { echo "process $pid ended early:" >&2; cat "$work"/*.err >&2; exit 4; }
    sleep 0.1
  done
}

ip link set lo up

"$BIN/c10k-server" --listen "127.0.0.1:$port" --profile tuned --no-apply --events \
  > "$work/server" 2> "$work/server.err" < /dev/null &
pids+=($!)
await "$work/server" '"ready"' "${pids[0]}"

"$BIN/c10k-swarm" --server "127.0.0.1:$port" --target "$connections" --hold 1h --close rst --events \
  > "$work/swarm" 2> "$work/swarm.err" < /dev/null &
pids+=($!)
await "$work/swarm" '"phase":"hold"' "${pids[1]}"
held=$(grep -o '"phase":"hold".*' "$work/swarm" | head -1 | grep -o '"verified":[0-9]*' | cut -d: -f2)

"$BIN/c10k-collector" --port "$port" --interval 1s --duration "${seconds}s" --json --self-cost \
  > "$work/document" 2> "$work/collector.err"

steady=$(grep -o '"steady_share_of_one_core":[0-9.e-]*' "$work/document" | cut -d: -f2)
share=$(grep -o '"share_of_one_core":[0-9.e-]*' "$work/document" | cut -d: -f2)
seen=$(grep -o '"census_at_end":{.*' "$work/document" | grep -o '"server_side":[0-9]*' | head -1 | cut -d: -f2)
longest=$(grep -o '"longest_tick_us":[0-9]*' "$work/document" | cut -d: -f2)
ticks=$(grep -o '"ticks":[0-9]*' "$work/document" | cut -d: -f2)

tail -n 2 "$work/collector.err" >&2
echo "connections held $held, seen at the server $seen; $ticks ticks, the longest $longest us"
awk -v share="$share" -v steady="$steady" -v most="$most" 'BEGIN {
  printf "the collector took %.2f %% of one core (at most %.0f %%), %.2f %% between its first look and its last\n",
    share * 100, most * 100, steady * 100
  exit share >= most
}'
(( held == connections )) || { echo "only $held of $connections are held" >&2; exit 1; }
