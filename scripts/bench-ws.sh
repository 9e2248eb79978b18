#!/usr/bin/env bash
# What a WebSocket connection costs: raw, WebSocket, and WebSocket by stock tungstenite
# (crates/c10k-server/examples/stock_tungstenite.rs), each server met by the same swarm.
#
#   scripts/bench-ws.sh [--rounds N] [--write] [--debug] [CONNECTIONS [STOCK_CONNECTIONS]]
#
# Default: 3 rounds of 100000 connections, and 10000 for stock tungstenite, which takes about 150 KB each. Each round
# runs raw and WebSocket in turn, after one raw run that is not counted: it touches the memory, so that all find it
# warm. Then as many connections as stock tungstenite gets receive one message of 64 KiB each, and the growth of the
# server's memory is what they keep of it. All of it happens in a network namespace of its own.
#
# Prints a table; with --write also a file below results/bench/, with the machine described. --debug takes the debug
# build: to try the script, not to measure. Nothing of the host is changed. A user who is not root needs a hard
# limit of open files above STOCK_CONNECTIONS.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=3 write=0 build=release
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --write) write=1; shift ;;
        --debug) build=debug; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,17p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
flag=$([ $build = debug ] || echo --release)
# No flag is no word.
# shellcheck disable=SC2086
cargo build $flag --quiet --bin c10k-lab
# shellcheck disable=SC2086
cargo build $flag --quiet -p c10k-server --example stock_tungstenite
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
namespace=(unshare -n)
[ "$(id -u)" = 0 ] || namespace=(unshare -Urn)
# The inner shell expands it.
# shellcheck disable=SC2016
exec "${namespace[@]}" sh -c '
    ip link set lo up
    sysctl -qw net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535
    sysctl -qw net.ipv4.ip_local_port_range="1024 65535"
    exec python3 - "$@"
' sh "$target/$build" "$rounds" "$write" "${1:-100000}" "${2:-10000}" "$build" <<'PYTHON'
import glob, json, os, resource, socket, statistics, struct, subprocess, sys, time

build, rounds, write = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1"
full, stock = int(sys.argv[4]), min(int(sys.argv[4]), int(sys.argv[5]))
name_of_build = sys.argv[6]
MESSAGE = 64 << 10
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
if os.geteuid() == 0:
    # Root's own limits do not bind it, up to fs.nr_open; in a user namespace they do.
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
        hard = 1 << 20
    except (ValueError, PermissionError):
        pass
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if hard != resource.RLIM_INFINITY and hard < stock + 64:
    sys.exit(f"error: stock tungstenite with {stock:,} connections needs as many descriptors, and {hard:,} is the "
             f"hard limit here\nhint: scripts/bench-ws.sh {full} {max(hard - 100, 1)}")


def rss_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def cpu_ns(pid):
    """Processor time of all threads that live."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as stat:
            total += int(stat.read().split()[0])
    return total


class Server:
    def __init__(self, kind):
        lab = [f"{build}/c10k-lab", "server", "--listen", "127.0.0.1:9000", "--profile", "tuned", "--no-apply",
               "--events", "--protocol"]
        command = [f"{build}/examples/stock_tungstenite", "127.0.0.1:9000"] if kind == "stock" else lab + [kind]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL)
        line = self.child.stdout.readline()
        assert line, f"{kind} did not start"
        self.pid = self.child.pid

    def __enter__(self):
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


def measure(kind, count):
    """A ramp of the swarm, and what server and swarm have taken when all are held."""
    protocol = "raw" if kind == "raw" else "ws"
    with Server(kind) as server:
        command = [f"{build}/c10k-lab", "swarm", "--server", "127.0.0.1:9000", "--profile", "tuned", "--no-apply",
                   "--protocol", protocol, "--target", str(count), "--hold", "3s", "--close", "rst", "--events"]
        swarm = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 text=True)
        before, cpu_before = rss_bytes(server.pid), cpu_ns(server.pid)
        server_bytes = swarm_bytes = server_us = record = swarm_before = None
        for line in swarm.stdout:
            event = json.loads(line)
            if event["event"] == "ready":
                swarm_before = rss_bytes(swarm.pid)
            elif event["event"] == "phase" and event["phase"] == "hold":
                server_us = (cpu_ns(server.pid) - cpu_before) / 1000 / count
                # What is given back soon after the ramp does not belong to a connection.
                time.sleep(1.5)
                server_bytes = (rss_bytes(server.pid) - before) / count
                swarm_bytes = (rss_bytes(swarm.pid) - swarm_before) / count
            elif event["event"] == "done":
                record = event["record"]
        swarm.wait()
    connections = record["connections"]
    assert connections["held"] == count and not connections["failed"], connections
    handshake = record["latency_us"].get("handshake") or {}
    return {"rate": record["rate"]["connects_per_second"]["mean"], "server_us": server_us,
            "server_bytes": server_bytes, "swarm_bytes": swarm_bytes, "handshake_p50_us": handshake.get("p50")}


def frame(payload):
    # A mask of zeros leaves the payload as it is.
    head = b"\x82" + (bytes([0x80 | len(payload)]) if len(payload) < 126 else
                      b"\xfe" + struct.pack(">H", len(payload)) if len(payload) < 65536 else
                      b"\xff" + struct.pack(">Q", len(payload)))
    return head + b"\0\0\0\0" + payload


def echo(stream, payload):
    stream.sendall(frame(payload))
    awaited = len(payload) + (2 if len(payload) < 126 else 4 if len(payload) < 65536 else 10)
    while awaited > 0:
        got = stream.recv(awaited)
        assert got, "the server closed"
        awaited -= len(got)


def growth(kind, count):
    """What each connection keeps of one message of 64 KiB that it has received and sent back, bytes."""
    request = (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    message = bytes(MESSAGE)
    with Server(kind) as server:
        streams = []
        for number in range(count):
            stream = socket.socket()
            stream.bind((f"127.0.1.{1 + number // 20000}", 0))
            stream.connect(("127.0.0.1", 9000))
            stream.settimeout(30)
            stream.sendall(request)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.recv(4096)
            assert head.startswith(b"HTTP/1.1 101 "), head
            echo(stream, b"small")
            streams.append(stream)
        # The buffers that all connections share get their size first.
        for stream in streams[: max(count // 20, 1)]:
            echo(stream, message)
        before = rss_bytes(server.pid)
        for stream in streams:
            echo(stream, message)
        grown = (rss_bytes(server.pid) - before) / count
        for stream in streams:
            stream.close()
    return grown


def spread(values, digits=1):
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": round(statistics.median(values), digits), "min": round(min(values), digits),
            "max": round(max(values), digits)}


def cell(s, digits=0):
    return "–" if s is None else f"{s['median']:,.{digits}f} ({s['min']:,.{digits}f}–{s['max']:,.{digits}f})"


measure("raw", full)
runs = {"raw": [], "ws": [], "stock": []}
for number in range(rounds):
    for kind in ("raw", "ws") if number % 2 == 0 else ("ws", "raw"):
        runs[kind].append(measure(kind, full))
    runs["stock"].append(measure("stock", stock))
    last = {kind: runs[kind][-1]["rate"] for kind in runs}
    print(f"  round {number + 1}: raw {last['raw']:,.0f}/s, WebSocket {last['ws']:,.0f}/s, ratio "
          f"{last['ws'] / last['raw']:.2f}; stock tungstenite {last['stock']:,.0f}/s", file=sys.stderr)
kept = {"raw": None, "ws": growth("ws", stock), "stock": growth("stock", stock)}

names = {"raw": "raw", "ws": "WebSocket", "stock": "stock tungstenite"}
rows = []
for kind, name in names.items():
    row = {"server": name, "connections": stock if kind == "stock" else full, "rounds": rounds}
    row |= {key: spread([run[key] for run in runs[kind]]) for key in runs[kind][0]}
    row["kept_of_64_kib_bytes"] = None if kept[kind] is None else round(kept[kind], 1)
    rows.append(row)
ratio = spread([ws["rate"] / raw["rate"] for ws, raw in zip(runs["ws"], runs["raw"])], 3)

print("| server | connections | server user bytes | kept of a 64 KiB message, bytes | server CPU a connection, µs | "
      "verified/s | swarm user bytes |")
print("|---|---|---|---|---|---|---|")
for r in rows:
    held = "–" if r["kept_of_64_kib_bytes"] is None else f"{r['kept_of_64_kib_bytes']:,.1f}"
    print(f"| {r['server']} | {r['connections']:,} | {cell(r['server_bytes'], 1)} | {held} | "
          f"{cell(r['server_us'], 1)} | {cell(r['rate'])} | {cell(r['swarm_bytes'], 1)} |")
print(f"\nWebSocket ramp ÷ raw ramp, in the same rounds: {cell(ratio, 2)}")


def machine():
    """A swarm on its own does not describe the machine: the same facts from /proc and os-release."""
    def line(path, start):
        with open(path) as file:
            return next((l.split(":", 1)[-1].split("=", 1)[-1].strip().strip('"') for l in file if l.startswith(start)), None)
    return {"os": line("/etc/os-release", "PRETTY_NAME"), "kernel": os.uname().release,
            "cpu": line("/proc/cpuinfo", "model name"), "cpus": len(os.sched_getaffinity(0)),
            "memory_bytes": int(line("/proc/meminfo", "MemTotal").split()[0]) * 1024, "root": os.geteuid() == 0}


if write:
    os.makedirs("results/bench", exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = f"results/bench/ws-{stamp}.json"
    with open(path, "w") as file:
        json.dump({"measured_at": stamp, "command": "scripts/bench-ws.sh", "build": name_of_build, "host": machine(),
            "what": "medians with min and max; rates are verified connections a second, server_us is µs of the "
                    "server's processor time from its start to the last verified connection, memory is resident "
                    "bytes a connection above the process that was ready; kept_of_64_kib is measured with "
                    f"{stock} connections", "ratio_ws_to_raw_rate": ratio, "rows": rows}, file, indent=1)
        file.write("\n")
    print(f"written to {path}", file=sys.stderr)
PYTHON
