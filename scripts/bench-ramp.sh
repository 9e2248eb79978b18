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
import json, os, platform, statistics, subprocess, sys, tempfile, time

release, rounds, write, sizes = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", [int(n) for n in sys.argv[4:]]
namespace = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
settings = "net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535 net.ipv4.ip_local_port_range='1024 65535'"

def floor(n):
    command = f"ip link set lo up; sysctl -qw {settings}; exec {release}/examples/floor {n} 2 64"
    out = subprocess.run(namespace + ["sh", "-c", command], check=True, capture_output=True, text=True).stdout
    r = json.loads(out)
    assert r["connections"] == n, r
    return {"rate": r["connects_per_second"], "server_us": r["server_us_per_connection"],
            "client_us": r["client_us_per_connection"], "server_bytes": r["server_user_bytes"],
            "client_bytes": r["client_user_bytes"]}

def lab(n):
    profile = "c1m" if n >= 1000000 else "tuned"
    with tempfile.TemporaryDirectory() as folder:
        command = [f"{release}/c10k-lab", "run", "--profile", profile, "--target", str(n), "--hold", "1s",
                   "--close", "rst", "--results", folder, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    r = json.loads(done.stdout)
    assert r["connections"]["held"] == n and not r["connections"]["failed"], r["connections"]
    lab.host = r["host"]
    memory = r["memory_per_connection"]
    return {"rate": r["rate"]["connects_per_second"]["mean"], "server_us": r["cpu"]["server_us_per_connection"],
            "client_us": r["cpu"]["swarm_us_per_connection"], "server_bytes": memory["server_user_bytes"],
            "client_bytes": memory["client_user_bytes"], "unexplained": memory["unexplained_ratio"]}

def spread(values, digits):
    # What could not be known in a round (free memory that did not fall) is left out; null when in none.
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": round(statistics.median(values), digits), "min": round(min(values), digits),
            "max": round(max(values), digits)}

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

def cell(s, digits=0):
    if s is None:
        return "unknown"
    return f"{s['median']:,.{digits}f} ({s['min']:,.{digits}f}–{s['max']:,.{digits}f})"

lines = ["| connections | floor, verified/s | lab, verified/s | ratio | server CPU, µs: floor, lab, ratio | "
         "server user bytes | swarm user bytes |", "|---|---|---|---|---|---|---|"]
for r in rows:
    lines.append(f"| {r['connections']:,} | {cell(r['floor']['rate'])} | {cell(r['lab']['rate'])} | "
                 f"{cell(r['ratio_rate'], 2)} | {r['floor']['server_us']['median']}, {r['lab']['server_us']['median']}, "
                 f"{cell(r['ratio_server_us'], 2)} | {cell(r['lab']['server_bytes'], 1)} | {cell(r['lab']['client_bytes'], 1)} |")
table = "\n".join(lines)
print(table)
if write:
    os.makedirs("results/bench", exist_ok=True)
    host = lab.host
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = f"results/bench/ramp-{stamp}.json"
    with open(path, "w") as file:
        json.dump({"measured_at": stamp, "command": "scripts/bench-ramp.sh", "host": {
            key: host[key] for key in ("os", "kernel", "cpu", "cpus", "memory_bytes", "root", "virtualization")},
            "what": "medians with min and max; rates are verified connections a second, times µs of processor time a "
                    "connection, memory bytes a connection", "rows": rows}, file, indent=1)
        file.write("\n")
    print(f"written to {path}", file=sys.stderr)
PYTHON
