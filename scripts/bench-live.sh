#!/usr/bin/env bash
# What the live view costs: how fast the lab comes to N verified connections, and the processor time of each end, with the
# live line, with the full screen (--tui), and with neither (-q).
#
#   scripts/bench-live.sh [--rounds N] [--write] [CONNECTIONS …]        default: 6 rounds of 100000
#
# Each run has a terminal of its own of 80×24 (a pty that is read all the time) and is in a network namespace that the lab
# makes. A round runs each of the three once, in an order that is turned and swapped from round to round, and the ratios
# are taken round by round; one run before them is not counted. Prints medians and ranges; with --write also a file below
# results/bench/. Nothing of the host is changed by an ordinary user; for root the lab puts back what it raises.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=6 write=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,5p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- 100000
[ "$rounds" -ge 2 ] || { echo "error: --rounds $rounds shows no noise: expected 2 or more" >&2; exit 2; }
cargo build --release --quiet --bin c10k-lab
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release/c10k-lab" "$rounds" "${write:-0}" "$@" <<'PYTHON'
import fcntl, glob, json, os, pty, struct, sys, tempfile, termios

sys.path.insert(0, "scripts")
from benching import cell, described, expect_all_held, spread, write_down

lab, rounds, write, sizes = os.path.abspath(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1", [int(n) for n in sys.argv[4:]]
VIEWS = {"none": ["-q"], "line": [], "screen": ["--tui"]}
ORDERS = [("none", "line", "screen"), ("screen", "line", "none"), ("line", "screen", "none"),
          ("none", "screen", "line"), ("screen", "none", "line"), ("line", "none", "screen")]


def in_terminal(command):
    """Runs it in a terminal of 80×24. Its exit code, what it wrote, and the processor time of it and its processes, s."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.environ["TERM"] = "xterm-256color"
        os.execv(command[0], command)
    written = []
    try:
        while part := os.read(terminal, 65536):
            written.append(part)
    except OSError:
        pass  # EIO: the last one with the terminal has ended.
    os.close(terminal)
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), b"".join(written), usage.ru_utime + usage.ru_stime


def run(view, n):
    with tempfile.TemporaryDirectory() as folder:
        command = [lab, "run", "--profile", "c1m" if n >= 1000000 else "tuned", "--target", str(n), "--hold", "1s",
                   "--close", "rst", "--verdict", "echo_p95 <= 1h", "--results", folder] + VIEWS[view]
        code, written, all_seconds = in_terminal(command)
        assert code == 0, written.decode(errors="replace")
        with open(glob.glob(f"{folder}/*/record.json")[0]) as file:
            record = json.load(file)
    expect_all_held(record, n)
    # Each view is what it is called: the screen takes the terminal, the line is written over.
    seen = "screen" if b"\x1b[?1049h" in written else "line" if b"\r\x1b[K" in written else "none"
    assert seen == view, (view, written[:300])
    run.host = described(record)
    return {"rate": record["rate"]["connects_per_second"]["mean"], "server_us": record["cpu"]["server_us_per_connection"],
            "swarm_us": record["cpu"]["swarm_us_per_connection"], "all_seconds": all_seconds}


rows = []
for n in sizes:
    run("none", n)
    seen = []
    for number in range(rounds):
        seen.append({view: run(view, n) for view in ORDERS[number % len(ORDERS)]})
        rates = ", ".join(f"{view} {seen[-1][view]['rate']:,.0f}/s" for view in VIEWS)
        print(f"  {n:>9,}  round {number + 1}: {rates}", file=sys.stderr)
    row = {"connections": n, "rounds": rounds}
    for view in VIEWS:
        row[view] = {key: spread([one[view][key] for one in seen], 3) for key in seen[0][view]}
    for view in ("line", "screen"):
        for key in ("rate", "server_us", "swarm_us", "all_seconds"):
            row[f"ratio_{view}_{key}"] = spread([one[view][key] / one["none"][key] for one in seen], 3)
    # The same thing measured again and again differs by that much.
    noise = row["none"]["rate"]
    row["noise"] = round((noise["max"] - noise["min"]) / noise["median"], 3)
    for view in ("line", "screen"):
        row[f"within_noise_{view}"] = abs(row[f"ratio_{view}_rate"]["median"] - 1) <= row["noise"]
    rows.append(row)

lines = ["| connections | view | verified/s | its ratio to none | server CPU, µs | swarm CPU, µs | all processes, s | within noise |",
         "|---|---|---|---|---|---|---|---|"]
for row in rows:
    for view in VIEWS:
        ratio = "–" if view == "none" else cell(row[f"ratio_{view}_rate"], 3)
        noise = f"± {row['noise']:.3f}" if view == "none" else "yes" if row[f"within_noise_{view}"] else "NO"
        s = row[view]
        lines.append(f"| {row['connections']:,} | {view} | {cell(s['rate'])} | {ratio} | {cell(s['server_us'], 1)} | "
                     f"{cell(s['swarm_us'], 1)} | {cell(s['all_seconds'], 2)} | {noise} |")
print("\n".join(lines))
if write:
    write_down("live", "scripts/bench-live.sh",
               "medians with min and max; rates are verified connections a second, times µs of processor time a connection "
               "in the ramp, all_seconds the processor time of lab, server and swarm; ratios to a run without a view in the "
               "same round; noise is the range of those runs over their median", {"rows": rows},
               run.host)
PYTHON
