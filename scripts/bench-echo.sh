#!/usr/bin/env bash
# Messages beside the floor: how many of 1 KiB come back in a closed loop over N held connections, checked byte for
# byte, against a pair that looks at none of them (crates/c10k-kernel/examples/floor.rs); and how late the swarm sends
# in an open loop at half of that.
#
#   scripts/bench-echo.sh [--rounds N] [--protocol raw|ws] [--write] [CONNECTIONS …]    default: 6 rounds of 100000
#
# Each round runs floor and swarm in turn, each in a network namespace of its own, after one floor run that is not
# counted. 128 messages are in flight. Prints medians, ranges and ratios; with --write also a file below
# results/bench/. Nothing of the host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=6 protocol=raw write=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --protocol) protocol=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,11p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- 100000
cargo build --release --quiet --bin c10k-server --bin c10k-swarm
cargo build --release --quiet -p c10k-kernel --example floor
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release" "$rounds" "$protocol" "${write:-0}" "$@" <<'PYTHON'
import statistics, sys

sys.path.insert(0, "scripts")
from benching import beside_server, cell, expect_all_held, inside, spread, write_down

release, rounds, protocol, write = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1"
sizes = [int(n) for n in sys.argv[5:]]
seconds = 5

def floor(n):
    r = inside(f"exec {release}/examples/floor {n} 2 64 {seconds}")
    assert r["connections"] == n, r
    return r["messages_per_second"]

def swarm(n, flags):
    r = beside_server(release, protocol,
                      f"--target {n} --hold {seconds}s --workload echo --payload 1KiB {flags}")
    expect_all_held(r, n)
    worked = r["work"][0]
    assert worked["messages_wrong"] == 0 and worked["messages_answered"] == worked["messages_sent"], worked
    return worked

rows = []
for n in sizes:
    floor(n)
    pairs, late = [], []
    closed = lambda: swarm(n, "--in-flight-messages 128")["messages_per_second"]
    for number in range(rounds):
        pair = (floor(n), closed()) if number % 2 == 0 else tuple(reversed((closed(), floor(n))))
        pairs.append(pair)
        print(f"  {n:>9,}  round {number + 1}: floor {pair[0]:,.0f}/s, swarm {pair[1]:,.0f}/s, "
              f"ratio {pair[1] / pair[0]:.2f}", file=sys.stderr)
    half = int(statistics.median(p[1] for p in pairs) / 2)
    for number in range(rounds):
        worked = swarm(n, f"--message-rate {half}/s")
        late.append(worked)
        print(f"  {n:>9,}  open loop {number + 1}: {half:,}/s, lateness p99 {worked['lateness_us']['p99']:,} µs, "
              f"p99.9 {worked['lateness_us']['p999']:,} µs", file=sys.stderr)
    rows.append({"connections": n, "rounds": rounds, "floor": spread([p[0] for p in pairs]),
                 "swarm": spread([p[1] for p in pairs]), "ratio": spread([p[1] / p[0] for p in pairs]),
                 "open_loop_per_second": half,
                 "lateness_p99_us": spread([w["lateness_us"]["p99"] for w in late]),
                 "lateness_p999_us": spread([w["lateness_us"]["p999"] for w in late]),
                 "not_sent_in_time": spread([w["messages_not_sent_in_time"] for w in late])})

print("| connections | floor, messages/s | swarm, messages/s | ratio | open loop at | lateness p99, µs | p99.9, µs |")
print("|---|---|---|---|---|---|---|")
for r in rows:
    print(f"| {r['connections']:,} | {cell(r['floor'])} | {cell(r['swarm'])} | {cell(r['ratio'], 2)} | "
          f"{r['open_loop_per_second']:,}/s | {cell(r['lateness_p99_us'])} | {cell(r['lateness_p999_us'])} |")
if write:
    write_down(f"echo-{protocol}", "scripts/bench-echo.sh",
               "medians with min and max; messages of 1 KiB a second, lateness in µs",
               {"protocol": protocol, "rows": rows})
PYTHON
