#!/usr/bin/env bash
# Which way of fixing the source port costs less: IP_LOCAL_PORT_RANGE narrowed to one port with
# IP_BIND_ADDRESS_NO_PORT (the kernel takes it at connect time), or SO_REUSEADDR with an explicit bind?
#
#   scripts/bench-port-choice.sh [CONNECTIONS [ROUNDS]]
#
# Each round runs both in turn against a fresh server in a network namespace of its own. One source address
# holds up to 64,000 of the connections, so its range is nearly full at the end: a search that grew with the
# fill would show. The swarm binds explicitly by itself when --ports reaches beyond ip_local_port_range, which
# is how the second way is chosen here.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/pair.bash
connections=${1:-100000}
range() { one "$connections" 1024 '' '--ports 1024-65535'; }
explicit() { one "$connections" 1025 '' '--ports 1024-65535'; }
pair "${2:-5}" 'one-port range' 'explicit bind' range explicit
