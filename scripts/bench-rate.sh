#!/usr/bin/env bash
# What a paced start does to the latency of connecting: the p50 of connect at a rate, beside that of a swarm that begins the
# next one when the one before is proven, which has as few under way.
#
#   scripts/bench-rate.sh [--rounds N] [--rate N/s] [--write] [CONNECTIONS]      default: 6 rounds of 10000 at 2000/s
#
# Each round runs both, in an order that changes, each in a network namespace of its own, after one run that is not counted.
# Prints medians with their range and the difference in µs; with --write also a file below results/bench/. Nothing of the
# host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=6 rate=2000/s write=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --rate) rate=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,9p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
cargo build --release --quiet --bin c10k-server --bin c10k-swarm
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release" "$rounds" "$rate" "${write:-0}" "${1:-10000}" <<'PYTHON'
import sys

sys.path.insert(0, "scripts")
from benching import beside_server, cell, expect_all_held, spread, write_down

release, rounds, rate, write, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1", int(sys.argv[5])

def connect(flags):
    r = beside_server(release, "raw", f"--target {count} --hold 0s {flags}")
    expect_all_held(r, count)
    return r["latency_us"]["connect"]["p50"]

paced = lambda: connect(f"--rate {rate}")
unpaced = lambda: connect("--in-flight 1 --workers 1")
paced()
pairs = []
for number in range(rounds):
    pair = (paced(), unpaced()) if number % 2 == 0 else tuple(reversed((unpaced(), paced())))
    pairs.append(pair)
    print(f"  round {number + 1}: paced {pair[0]} µs, one after another {pair[1]} µs", file=sys.stderr)
result = {"connections": count, "rounds": rounds, "rate": rate, "paced_us": spread([p[0] for p in pairs]),
          "unpaced_us": spread([p[1] for p in pairs]), "difference_us": spread([p[0] - p[1] for p in pairs])}
print(f"connect p50 at {rate}: {cell(result['paced_us'])} µs, one after another: {cell(result['unpaced_us'])} µs, "
      f"difference {cell(result['difference_us'])} µs")
if write:
    write_down("rate", "scripts/bench-rate.sh", "medians with min and max, µs", result)
PYTHON
