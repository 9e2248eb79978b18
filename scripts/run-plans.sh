#!/usr/bin/env bash
# Runs every plan file of profiles/plans/ and prints what came of it: the answers of results/README.md.
#
#   scripts/run-plans.sh [--rounds N] [--write] [PLAN …]      default: 3 rounds of all
#
# Medians with their range; with --write also a file below results/bench/, with the machine described. Each run is a
# `c10k-lab run` in a network namespace of its own; its record goes with it. Nothing of the host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=3 write=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,7p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- profiles/plans/*.toml
cargo build --release --quiet --bin c10k-lab
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release/c10k-lab" "$rounds" "${write:-0}" "$@" <<'PYTHON'
import os, sys

sys.path.insert(0, "scripts")
from benching import cell, described, lab_run, spread, write_down

lab, rounds, write = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1"
host = None

def run(plan):
    global host
    code, r = lab_run(lab, [plan])
    host = described(r)
    figures = {"held": r["connections"]["held"], "failed": sum(r["connections"]["failed"].values()),
               "connect_p99_ms": (r["latency_us"]["connect"]["p99"] or 0) / 1000,
               "first_echo_p99_ms": (r["latency_us"]["first_echo"]["p99"] or 0) / 1000,
               "connects_per_second": r["rate"]["connects_per_second"]["without_pauses"] or r["rate"]["connects_per_second"]["mean"],
               "server_user_bytes": r["memory_per_connection"]["server_user_bytes"]}
    for work in r["work"]:
        for name in ("response_us", "lateness_us"):
            if work.get(name) and work[name]["p99"] is not None:
                figures[name.replace("_us", "_p99_ms")] = work[name]["p99"] / 1000
        figures.update({name: work[name] for name in ("messages_answered", "messages_wrong", "server_cores") if work.get(name) is not None})
        stream, fanout = work.get("stream"), work.get("fanout")
        if stream:
            figures.update({"whole_viewers": stream["whole"], "stalled_viewers": stream["stalled_viewers"],
                            "start_up_p99_ms": stream["start_up_us"]["p99"] / 1000})
        if fanout:
            figures.update({"missing": fanout["missing"], "median_receiver_ms": fanout["median_receiver_us"]["p50"] / 1000,
                            "last_receiver_ms": fanout["last_receiver_us"]["p50"] / 1000})
    broken = [v["expr"] for v in r["verdicts"] if v["passed"] is False]
    return {"exit": code, "broken": broken, "wall": (r["ceiling"] or {}).get("wall"), "figures": figures}

rows = []
for plan in sys.argv[4:]:
    runs = [run(plan) for _ in range(rounds)]
    names = [name for name in runs[0]["figures"] if all(r["figures"].get(name) is not None for r in runs)]
    rows.append({"plan": os.path.basename(plan), "rounds": rounds, "exits": [r["exit"] for r in runs],
                 "broken": sorted({expr for r in runs for expr in r["broken"]}),
                 "walls": sorted({r["wall"] for r in runs if r["wall"]}),
                 "figures": {name: spread([r["figures"][name] for r in runs], 2) for name in names}})
    shown = ", ".join(f"{name} {cell(of, 0 if of['median'] >= 100 else 2)}" for name, of in rows[-1]["figures"].items())
    print(f"{rows[-1]['plan']}: exits {rows[-1]['exits']}, broken {rows[-1]['broken']}, walls {rows[-1]['walls']}; {shown}", flush=True)
if write:
    write_down("plans", "scripts/run-plans.sh", "medians with min and max; latencies ms, memory bytes a connection",
               {"rows": rows}, host)
PYTHON
