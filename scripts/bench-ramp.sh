#!/usr/bin/env bash
# The ramp beside the floor: how fast the lab's server and swarm come to N verified connections, and what a
# connection costs each end, against a pair that does nothing else (crates/c10k-kernel/examples/floor.rs).
#
#   scripts/bench-ramp.sh [--rounds N] [--write] [CONNECTIONS …]        default: 3 rounds of 10000 100000 1000000
#
# Each round runs both in turn, each in a network namespace of its own, after one floor run that is not counted:
# it touches the memory, so that both find it warm. Prints medians, ranges and ratios; with --write also a file
# below results/bench/, with the machine described. Nothing of the host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=3 write=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,9p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- 10000 100000 1000000
cargo build --release --quiet --bin c10k-lab
cargo build --release --quiet -p c10k-kernel --example floor
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release" "$rounds" "${write:-0}" "$@" <<'PYTHON'
import sys

sys.path.insert(0, "scripts")
from benching import cell, inside, ramp, spread, write_down

release, rounds, write, sizes = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", [int(n) for n in sys.argv[4:]]

def floor(n):
    r = inside(f"exec {release}/examples/floor {n} 2 64")
    assert r["connections"] == n, r
    return {"rate": r["connects_per_second"], "server_us": r["server_us_per_connection"],
            "client_us": r["client_us_per_connection"], "server_bytes": r["server_user_bytes"],
            "client_bytes": r["client_user_bytes"]}

def lab(n):
    figures, lab.host = ramp(f"{release}/c10k-lab", n)
    return figures

rows = []
for n in sizes:
    floor(n)
    pairs = []
    for number in range(rounds):
        pair = (floor(n), lab(n)) if number % 2 == 0 else tuple(reversed((lab(n), floor(n))))
        pairs.append(pair)
        print(f"  {n:>9,}  round {number + 1}: floor {pair[0]['rate']:,.0f}/s, lab {pair[1]['rate']:,.0f}/s, "
              f"ratio {pair[1]['rate'] / pair[0]['rate']:.2f}", file=sys.stderr)
    row = {"connections": n, "rounds": rounds}
    for name, which in (("floor", 0), ("lab", 1)):
        row[name] = {key: spread([p[which][key] for p in pairs], 4 if key == "unexplained" else 1)
                     for key in pairs[0][which]}
    row["ratio_rate"] = spread([p[1]["rate"] / p[0]["rate"] for p in pairs], 3)
    for key in ("server_us", "client_us"):
        row["ratio_" + key] = spread([p[1][key] / p[0][key] for p in pairs], 3)
    rows.append(row)

lines = ["| connections | floor, verified/s | lab, verified/s | ratio | server CPU, µs: floor, lab, ratio | "
         "server user bytes | swarm user bytes |", "|---|---|---|---|---|---|---|"]
for r in rows:
    lines.append(f"| {r['connections']:,} | {cell(r['floor']['rate'])} | {cell(r['lab']['rate'])} | "
                 f"{cell(r['ratio_rate'], 2)} | {r['floor']['server_us']['median']}, {r['lab']['server_us']['median']}, "
                 f"{cell(r['ratio_server_us'], 2)} | {cell(r['lab']['server_bytes'], 1)} | {cell(r['lab']['client_bytes'], 1)} |")
table = "\n".join(lines)
print(table)
if write:
    write_down("ramp", "scripts/bench-ramp.sh",
               "medians with min and max; rates are verified connections a second, times µs of processor time a "
               "connection, memory bytes a connection", {"rows": rows}, lab.host)
PYTHON
