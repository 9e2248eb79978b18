#!/usr/bin/env bash
# One message to N connections: how long after the server's clock reading the last receiver has it, against a bare loop of
# N writes and threads that read (crates/c10k-kernel/examples/fanout_floor.rs).
#
#   scripts/bench-fanout.sh [--rounds N] [--write] [--payload BYTES] [CONNECTIONS …]     default: 6 rounds of 100000, 64 B
#
# Each round runs floor, raw and WebSocket in turn, each in a network namespace of its own, in an order that changes; one
# floor before them is not counted: it touches the memory. Of each run the median message counts. Prints medians, ranges and
# ratios; with --write also a file below results/bench/. Nothing of the host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=6 write=0 payload=64
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --payload) payload=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,9p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- 100000
cargo build --release --quiet -p c10k-server -p c10k-swarm
cargo build --release --quiet -p c10k-kernel --example fanout_floor
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release" "$rounds" "$write" "$payload" "$@" <<'PYTHON'
import statistics, sys

sys.path.insert(0, "scripts")
from benching import cell, expect_all_held, inside, spread, write_down

release, rounds, write, payload = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])
sizes = [int(n) for n in sys.argv[5:]]
MESSAGES = 5
HEADER = 32

def floor(n):
    found = inside(f"exec {release}/examples/fanout_floor {n} {MESSAGES} {payload + HEADER}")
    # The first message finds no memory warm.
    return {key: statistics.median(found[key][1:]) / 1000 for key in ("written_us", "last_receiver_us")}

def lab(n, protocol):
    # A message has time to come to all before the next one.
    every = max(1, n // 50000)
    found = inside(f"exec python3 scripts/push_pair.py {release} {protocol} fanout {n} {every * (MESSAGES + 1)}s "
                   f"--fanout-every {every}s --payload {payload}")
    expect_all_held(found, n)
    fanout = found["work"]["fanout"]
    assert fanout["missing"] == 0 and fanout["rounds"] >= 3, fanout
    ms = {name: fanout[f"{name}_receiver_us"]["p50"] / 1000 for name in ("first", "median", "p99", "last")}
    return {**ms, "server_cores": found["server_cores"], "bytes": found["server_bytes_per_viewer"]}

rows = []
for n in sizes:
    floor(n)
    runs = []
    for number in range(rounds):
        order = ["floor", "raw", "ws"] if number % 2 == 0 else ["ws", "raw", "floor"]
        found = {}
        for name in order:
            found[name] = floor(n) if name == "floor" else lab(n, name)
        runs.append(found)
        print(f"  {n:>9,}  round {number + 1}: floor {found['floor']['last_receiver_us']:,.0f} ms, raw "
              f"{found['raw']['last']:,.0f} ms, ws {found['ws']['last']:,.0f} ms", file=sys.stderr)
    row = {"connections": n, "payload_bytes": payload, "rounds": rounds,
           "floor_written_ms": spread([r["floor"]["written_us"] for r in runs]),
           "floor_last_ms": spread([r["floor"]["last_receiver_us"] for r in runs])}
    for name in ("raw", "ws"):
        row[name] = {key: spread([r[name][key] for r in runs]) for key in runs[0][name]}
        row[f"ratio_{name}"] = spread([r[name]["last"] / r["floor"]["written_us"] for r in runs])
    rows.append(row)

lines = ["| connections | floor: loop, ms | floor: last receiver, ms | raw: last, ms | ratio to the loop | ws: last, ms | "
         "ratio to the loop |", "|---|---|---|---|---|---|---|"]
for r in rows:
    lines.append(f"| {r['connections']:,} | {cell(r['floor_written_ms'], 0)} | {cell(r['floor_last_ms'], 0)} | "
                 f"{cell(r['raw']['last'], 0)} | {cell(r['ratio_raw'], 2)} | {cell(r['ws']['last'], 0)} | "
                 f"{cell(r['ratio_ws'], 2)} |")
print("\n".join(lines))
if write:
    write_down("fanout", "scripts/bench-fanout.sh",
               "medians with min and max, ms from the clock reading before the first write; the ratio is the last receiver "
               "by the time of the bare loop of writes", {"rows": rows})
PYTHON
