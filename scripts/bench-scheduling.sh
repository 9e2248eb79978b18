#!/usr/bin/env bash
# What it brings that a worker of the server waits for its turn when it is woken (SCHED_BATCH, sched(7)), with the
# clients on the same machine: c10k-server --scheduling batch, its default, against --scheduling other.
#
#   scripts/bench-scheduling.sh [CONNECTIONS [ROUNDS [raw|ws]]]
#
# Each round runs both in turn in a network namespace of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/pair.bash
connections=${1:-100000} protocol=${3:-raw}
run() { one "$connections" 1024 "--protocol $protocol --scheduling $1" "--protocol $protocol"; }
batch() { run batch; }
other() { run other; }
pair "${2:-5}" 'batch' 'other' batch other
