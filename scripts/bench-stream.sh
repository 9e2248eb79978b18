#!/usr/bin/env bash
# N viewers at a bit rate for a time: stalls, what came whole, and what a viewer costs the server.
#
#   scripts/bench-stream.sh [--rounds N] [--write] [--bitrate RATE] [--for DURATION] [VIEWERS …]
#                                                            default: 6 rounds of 10000 viewers, 500kbit/s for 10s
#
# Each round runs raw and WebSocket in turn, each in a network namespace of its own, in an order that changes. Prints medians
# and ranges; with --write also a file below results/bench/. Nothing of the host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=6 write=0 bitrate=500kbit/s long=10s
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --bitrate) bitrate=$2; shift 2 ;;
        --for) long=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,8p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- 10000
cargo build --release --quiet -p c10k-server -p c10k-swarm
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release" "$rounds" "$write" "$bitrate" "$long" "$@" <<'PYTHON'
import sys

sys.path.insert(0, "scripts")
from benching import cell, inside, spread, write_down

release, rounds, write, bitrate, long = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4], sys.argv[5]
sizes = [int(n) for n in sys.argv[6:]]

def play(n, protocol):
    found = inside(f"exec python3 scripts/push_pair.py {release} {protocol} stream {n} {long} --bitrate {bitrate} "
                   f"--stream-duration {long}")
    stream = found["work"]["stream"]
    assert stream["viewers"] == n, stream
    return {"whole": stream["whole"], "stalled": stream["stalled_viewers"], "stalls": stream["stalls"],
            "wrong": stream["wrong"], "gbit_per_second": stream["bits_per_second"] / 1e9,
            "start_up_p50_ms": stream["start_up_us"]["p50"] / 1000, "start_up_p99_ms": stream["start_up_us"]["p99"] / 1000,
            "server_cores": found["server_cores"],
            "server_us_per_viewer_second": found["server_cores"] * 1e6 / n,
            "server_bytes_per_viewer": found["server_bytes_per_viewer"], "swarm_cores": found["work"]["swarm_cores"]}

rows = []
for n in sizes:
    runs = {"raw": [], "ws": []}
    for number in range(rounds):
        for protocol in ("raw", "ws") if number % 2 == 0 else ("ws", "raw"):
            found = play(n, protocol)
            runs[protocol].append(found)
            print(f"  {n:>9,}  round {number + 1}: {protocol}: {found['whole']:,} whole, {found['stalled']:,} stalled, "
                  f"{found['gbit_per_second']:.2f} Gbit/s, {found['server_cores']:.2f} cores", file=sys.stderr)
    for protocol, all_runs in runs.items():
        rows.append({"viewers": n, "protocol": protocol, "bitrate": bitrate, "for": long, "rounds": rounds,
                     **{key: spread([run[key] for run in all_runs]) for key in all_runs[0]}})

lines = ["| viewers | protocol | whole | stalled | Gbit/s | start-up p99, ms | server cores | server bytes a viewer |",
         "|---|---|---|---|---|---|---|---|"]
for r in rows:
    lines.append(f"| {r['viewers']:,} | {r['protocol']} | {cell(r['whole'], 0)} | {cell(r['stalled'], 0)} | "
                 f"{cell(r['gbit_per_second'], 2)} | {cell(r['start_up_p99_ms'], 1)} | {cell(r['server_cores'], 2)} | "
                 f"{cell(r['server_bytes_per_viewer'], 0)} |")
print("\n".join(lines))
if write:
    write_down("stream", "scripts/bench-stream.sh",
               "medians with min and max over the rounds; cores and bytes are the server's, of the hold; memory beside what "
               "an idle connection costs", {"rows": rows})
PYTHON
