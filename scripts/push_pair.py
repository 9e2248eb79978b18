"""Runs c10k-server --workload stream|fanout and a swarm against it, and prints one JSON line of what both say.

    push_pair.py RELEASE_DIR raw|ws stream|fanout CONNECTIONS HOLD [SERVER FLAGS …]

Used by bench-stream.sh and bench-fanout.sh, inside a network namespace of its own. Processor time and memory of the server
are those of the hold, read from /proc; memory grows from its begin, when all connections are open and idle.
"""

import json
import os
import subprocess
import sys
import threading
import time

release, protocol, workload, count, hold = sys.argv[1:6]
server_flags = sys.argv[6:]
TICKS = os.sysconf("SC_CLK_TCK")


def usage(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/status") as file:
        rss = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))
    return (int(fields[11]) + int(fields[12])) / TICKS, rss


server = subprocess.Popen(
    [f"{release}/c10k-server", "--listen", "127.0.0.1:9000", "--protocol", protocol, "--workload", workload,
     "--no-apply", "--events", *server_flags],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
ready = json.loads(server.stdout.readline())
assert ready["event"] == "ready", ready
threading.Thread(target=server.stdout.read, daemon=True).start()

same = [flag for flag in ("--bitrate", "--payload", "--fanout-every") if flag in server_flags]
to_swarm = [word for flag in same for word in (flag, server_flags[server_flags.index(flag) + 1])]
swarm = subprocess.Popen(
    [f"{release}/c10k-swarm", "--server", "127.0.0.1:9000", "--protocol", protocol, "--workload", workload, "--target",
     count, "--hold", hold, "--close", "rst", "--no-apply", "--events", *to_swarm],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
at = {}
most_rss = 0
record = None
for line in swarm.stdout:
    event = json.loads(line)
    if event["event"] == "phase" and event["phase"] in ("hold", "verify"):
        at.setdefault(event["phase"], (time.monotonic(), *usage(server.pid)))
    if event["event"] == "tick" and "hold" in at and "verify" not in at:
        most_rss = max(most_rss, usage(server.pid)[1])
    if event["event"] == "done":
        record = event["record"]
swarm.wait()
server.terminate()
server.wait()
if record is None or "verify" not in at:
    sys.exit(f"the swarm did not come to its proof: {swarm.stderr.read()}")
begun, cpu_before, rss_before = at["hold"]
ended, cpu_after, _ = at["verify"]
print(json.dumps({
    "connections": record["connections"], "work": record["work"][-1], "warnings": record["warnings"],
    "server_cores": (cpu_after - cpu_before) / (ended - begun),
    "server_bytes_per_viewer": max(0, most_rss - rss_before) / int(count), "seconds": ended - begun}))
