#!/usr/bin/env bash
# This tree beside an earlier commit of it: how fast each comes to N verified connections, and what a connection costs
# each end.
#
#   scripts/bench-before.sh [--rounds N] [--protocol raw|ws] [--write] COMMIT [CONNECTIONS …]   default: 6 rounds of 100000
#
# COMMIT is laid out and built below target/before/. Each round runs both, in an order that changes, each in a network
# namespace of its own, after one run that is not counted: it touches the memory. Prints medians, ranges and ratios; with
# --write also a file below results/bench/, with the machine described. Nothing of the host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=6 protocol=raw write=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --protocol) protocol=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,9p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "error: COMMIT is missing: which commit is this tree held against?" >&2; sed -n '2,9p' "$0" >&2; exit 2; }
commit=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "error: '$1' is no commit" >&2; exit 2; }
shift
[ $# -gt 0 ] || set -- 100000
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
before=$target/before/${commit:0:12}
if [ ! -x "$before/c10k-lab" ]; then
    laid=$(mktemp -d)
    trap 'rm -rf "$laid"' EXIT
    git archive "$commit" | tar -x -C "$laid"
    (cd "$laid" && cargo build --release --quiet --bin c10k-lab --target-dir "$target/before/build")
    mkdir -p "$before"
    cp "$target/before/build/release/c10k-lab" "$before/"
    rm -rf "$laid"
    trap - EXIT
fi
cargo build --release --quiet --bin c10k-lab
exec python3 - "$before/c10k-lab" "$target/release/c10k-lab" "$rounds" "$protocol" "${write:-0}" "${commit:0:12}" "$@" <<'PYTHON'
import sys

sys.path.insert(0, "scripts")
from benching import cell, ramp, spread, write_down

before, after, rounds, protocol, write, commit = *sys.argv[1:3], int(sys.argv[3]), sys.argv[4], sys.argv[5] == "1", sys.argv[6]
host = None

def run(lab, n):
    global host
    figures, host = ramp(lab, n, protocol)
    return figures

rows = []
for n in map(int, sys.argv[7:]):
    run(after, n)
    pairs = []
    for number in range(rounds):
        pair = (run(before, n), run(after, n)) if number % 2 == 0 else tuple(reversed((run(after, n), run(before, n))))
        pairs.append(pair)
        print(f"  {n:>9,}  round {number + 1}: before {pair[0]['rate']:,.0f}/s, after {pair[1]['rate']:,.0f}/s, ratio "
              f"{pair[1]['rate'] / pair[0]['rate']:.2f}", file=sys.stderr)
    row = {"connections": n, "rounds": rounds}
    for name, which in (("before", 0), ("after", 1)):
        row[name] = {key: spread([p[which][key] for p in pairs], 4 if key == "unexplained" else 1) for key in pairs[0][which]}
    for key in ("rate", "server_us", "client_us"):
        row["ratio_" + key] = spread([p[1][key] / p[0][key] for p in pairs])
    rows.append(row)

print("| connections | before, verified/s | after, verified/s | ratio | server CPU, ratio | swarm CPU, ratio | server user bytes: "
      "before, after | swarm user bytes: before, after |\n|---|---|---|---|---|---|---|---|")
for r in rows:
    each = lambda key: f"{r['before'][key]['median']}, {r['after'][key]['median']}"
    print(f"| {r['connections']:,} | {cell(r['before']['rate'])} | {cell(r['after']['rate'])} | {cell(r['ratio_rate'], 2)} | "
          f"{cell(r['ratio_server_us'], 2)} | {cell(r['ratio_client_us'], 2)} | {each('server_bytes')} | {each('client_bytes')} |")
if write:
    write_down(f"before-{protocol}", "scripts/bench-before.sh",
               "medians with min and max; rates are verified connections a second, times µs of processor time a "
               "connection, memory bytes a connection", {"commit": commit, "protocol": protocol, "rows": rows},
               host)
PYTHON
