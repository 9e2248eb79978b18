"""What the bench scripts have in common: a namespace to measure in, medians with their range, a file of results.

The scripts run from the top of the repository and put scripts/ on Python's path.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

NAMESPACE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
SETTINGS = "net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535 net.ipv4.ip_local_port_range='1024 65535'"


def inside(script):
    """The JSON document that a bash script prints in a network namespace of its own."""
    command = f"ip link set lo up; sysctl -qw {SETTINGS}; {script}"
    done = subprocess.run(NAMESPACE + ["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def beside_server(release, protocol, load):
    """The document of a swarm with the flags `load`, against a server of ours that lives as long."""
    server = f"{release}/c10k-server --no-apply --protocol {protocol} --events"
    swarm = f"{release}/c10k-swarm --no-apply --protocol {protocol} --close rst {load} --json"
    return inside(f"coproc server {{ exec {server} 2>/dev/null; }}; read -r _ <&${{server[0]}}; "
                  f"{swarm} 2>/dev/null; kill -TERM $server_PID")


def lab_run(lab, flags):
    """Exit code and record of a `c10k-lab run`, whose folder goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([lab, "run", *flags, "--results", folder, "--json"], capture_output=True, text=True)
    assert done.stdout.strip(), done.stderr
    return done.returncode, json.loads(done.stdout)


def ramp(lab, count, protocol="raw"):
    """A ramp of the lab to so many: its figures, and the machine."""
    code, record = lab_run(lab, ["--profile", "c1m" if count >= 1000000 else "tuned", "--protocol", protocol,
                                 "--target", str(count), "--hold", "1s", "--close", "rst"])
    assert code == 0, record["verdicts"]
    expect_all_held(record, count)
    memory = record["memory_per_connection"]
    figures = {"rate": record["rate"]["connects_per_second"]["mean"],
               "server_us": record["cpu"]["server_us_per_connection"],
               "client_us": record["cpu"]["swarm_us_per_connection"], "server_bytes": memory["server_user_bytes"],
               "client_bytes": memory["client_user_bytes"], "unexplained": memory["unexplained_ratio"]}
    return figures, described(record)


def described(record):
    """The machine of a record, without its name."""
    keys = ("os", "kernel", "cpu", "cpus", "memory_bytes", "root", "virtualization")
    return {key: record["host"][key] for key in keys}


def expect_all_held(record, count):
    connections = record["connections"]
    assert connections["held"] == count and not connections["failed"], connections


def spread(values, digits=3):
    """Median, least and most. What could not be known in a round is left out; None when in none."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": round(statistics.median(values), digits), "min": round(min(values), digits),
            "max": round(max(values), digits)}


def cell(s, digits=0):
    if s is None:
        return "unknown"
    return f"{s['median']:,.{digits}f} ({s['min']:,.{digits}f}–{s['max']:,.{digits}f})"


def machine():
    """The machine, for a bench whose programs do not describe it."""
    with open("/proc/cpuinfo") as file:
        cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), None)
    with open("/proc/meminfo") as file:
        memory = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemTotal:"))
    return {"kernel": platform.release(), "cpu": cpu, "cpus": os.cpu_count(), "memory_bytes": memory,
            "root": os.geteuid() == 0}


def write_down(name, command, what, result, host=None):
    """Writes `result` to a file below results/bench/ that says when, by what and on which machine it was measured."""
    os.makedirs("results/bench", exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = f"results/bench/{name}-{stamp}.json"
    with open(path, "w") as file:
        json.dump({"measured_at": stamp, "command": command, "host": host or machine(), "what": what, **result}, file,
                  indent=1)
        file.write("\n")
    print(f"written to {path}", file=sys.stderr)
