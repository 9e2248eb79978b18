#!/usr/bin/env bash
# A client's machine, as root: one run against the server's machine.
#
#   client.sh K N RUN [FLAGS]      client K of N in the run named RUN
#
# A client that is alone makes a run of both ends, with `c10k-lab run`. Several are shards: each carries out its share
# of the one plan that all of them have, and they start together by way of the server's control port. Results go to the
# folder `results` of the checkout.
set -euo pipefail
# shellcheck source=network.bash
source "$(dirname "${BASH_SOURCE[0]}")/network.bash"

check_client "${1-}" "${2-}"
k=$1 n=$2 run=${3-}
[[ $run =~ ^[A-Za-z0-9._-]+$ ]] || fail "'$run' is no name for a run" "letters, digits, dots and dashes"
shift 3
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
ips=$network.$(share "$k" "$n")
await_control || fail "nothing answers at $control" "server.sh start, in the server's machine" 1
if (( n == 1 )); then
  # Under emulation, beside others, an answer may take long.
  exec c10k-lab run --topology remote --control "$control" --control-timeout 30s --token-file "$token" --profile tuned \
    --ips "$ips" "$@"
fi
exec c10k-swarm --server "$listen" --ips "$ips" --shard "$k/$n" --shard-ips own --profile tuned \
  --run-id "$run" --result "results/$run" --rendezvous "$control" --token-file "$token" "$@"
