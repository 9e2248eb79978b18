#!/usr/bin/env bash
# Connections that come and go beside the ramp: how many cycles a second (close one, open and verify another) the swarm
# makes while N are held, against how many it verifies in a ramp over the same server, and against a pair that does nothing
# but such cycles (crates/c10k-kernel/examples/floor.rs, by RST); and what is left of the memory. A cycle costs the kernel
# more than a connection of a ramp, which nobody closes: the floor says how much.
#
#   scripts/bench-churn.sh [--rounds N] [--minutes M] [--close client|server|rst] [--protocol raw|ws] [--write] [N]
#                                                         default: 6 rounds of 1 minute, rst, raw, 10000 held
#
# Each run is in a network namespace of its own. The last line says whether memory stayed: RSS of the swarm at the end of
# a run five times as long. Nothing of the host is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=6 minutes=1 close=rst protocol=raw write=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --minutes) minutes=$2; shift 2 ;;
        --close) close=$2; shift 2 ;;
        --protocol) protocol=$2; shift 2 ;;
        --write) write=1; shift ;;
        -*) echo "error: unknown flag '$1'" >&2; sed -n '2,10p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
cargo build --release --quiet --bin c10k-server --bin c10k-swarm
cargo build --release --quiet -p c10k-kernel --example floor
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 - "$target/release" "$rounds" "$minutes" "$close" "$protocol" "${write:-0}" "${1:-10000}" <<'PYTHON'
import statistics, sys

sys.path.insert(0, "scripts")
from benching import beside_server, expect_all_held, inside, spread, write_down

release, rounds, minutes, close, protocol = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5]
write, held = sys.argv[6] == "1", int(sys.argv[7])

def swarm(n, flags):
    r = beside_server(release, protocol, f"--target {n} {flags}")
    expect_all_held(r, n)
    return r

def ramp():
    return swarm(100000, "--hold 0s")["rate"]["connects_per_second"]["mean"]

def churn(long):
    # More than can be: as fast as --in-flight allows.
    r = swarm(held, f"--workload churn --churn 10M/s --churn-close {close} --hold {int(long * 60)}s")
    return r["work"][0]["churn"], r["memory_per_connection"]["client_user_bytes"]

def floor(long):
    return inside(f"exec {release}/examples/floor {held} 2 64 0 {int(long * 60)}")["cycles_per_second"]

ramp()
rounds_seen, waits, bytes_each = [], 0, []
for number in range(rounds):
    order = [ramp, lambda: churn(minutes), lambda: floor(minutes)]
    found = [run() for run in (order if number % 2 == 0 else order[::-1])]
    rate, (churned, each), bare = found if number % 2 == 0 else found[::-1]
    rounds_seen.append((rate, churned["cycles_per_second"], bare))
    waits += churned["waits_for_a_port"]
    bytes_each.append(each)
    print(f"  round {number + 1}: ramp {rate:,.0f}/s, churn {churned['cycles_per_second']:,.0f}/s, ratio "
          f"{churned['cycles_per_second'] / rate:.2f}, floor {bare:,.0f}/s, ratio {churned['cycles_per_second'] / bare:.2f}, waited for a port {churned['waits_for_a_port']}, TIME_WAIT "
          f"{churned['time_wait_client_peak']} here, {churned['time_wait_server_peak']} at the server", file=sys.stderr)
_, long = churn(5 * minutes)
ratio = spread([r[1] / r[0] for r in rounds_seen])
beside = spread([r[1] / r[2] for r in rounds_seen])
result = {"held": held, "rounds": rounds, "minutes": minutes, "close": close, "protocol": protocol,
          "ramp": spread([r[0] for r in rounds_seen]), "cycles": spread([r[1] for r in rounds_seen]), "ratio": ratio,
          "floor": spread([r[2] for r in rounds_seen]), "ratio_to_floor": beside,
          "waits_for_a_port": waits, "client_user_bytes": spread(bytes_each), "client_user_bytes_five_times_as_long": long}
print(f"ramp {result['ramp']['median']:,.0f}/s, churn {result['cycles']['median']:,.0f} cycles/s, ratio "
      f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f}); floor {result['floor']['median']:,.0f} cycles/s, ratio "
      f"{beside['median']:.2f} ({beside['min']:.2f}–{beside['max']:.2f}); waited for a port {waits} times; memory of the "
      f"swarm a held connection {statistics.median(bytes_each):,.0f} bytes, after five times as long {long:,.0f}")
if write:
    write_down(f"churn-{protocol}-{close}", "scripts/bench-churn.sh",
               "medians with min and max; verified connections and cycles a second, bytes of user memory", result)
PYTHON
