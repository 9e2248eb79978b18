#!/usr/bin/env bash
# A server and its clients, each in a virtual machine of its own; see --help.
set -euo pipefail
# shellcheck source=machine.bash
source "$(dirname "${BASH_SOURCE[0]}")/machine.bash"
# shellcheck source=guest/network.bash
source "$top/scripts/vm/guest/network.bash"
clients=1 lose=0

usage() {
  cat <<TEXT
usage: scripts/vm/pair.sh [--clients N] [OPTIONS] [--] [FLAGS]

A server in one virtual machine, a client in another, joined by a unix socket alone: up, one run, its record, down. FLAGS
are those of the run, such as --target 20k --hold 5s [default: --target 20k]. The exit code is the run's. Needs no root
and no image.

  scripts/vm/pair.sh --target 20k
  scripts/vm/pair.sh --clients 2 --target 20k
  scripts/vm/pair.sh --lose-syns 40 --target 1k --connect-timeout 3s

  --clients N      machines with clients: several carry out one plan as shards, and the server's machine adds up
                                                              [default: 1]
  --lose-syns N    percent of the SYNs to the server that the path between the machines loses
                                                              [default: none]
$(usage_of_options)
TEXT
}

read_options anywhere "$@"
flags=() verdicts=()
set -- "${words[@]}"
while (( $# > 0 )); do
  case $1 in
    --clients)
      check_number "$1" "${2-}" 1 31
      clients=$2
      shift
      ;;
    --lose-syns)
      check_number "$1" "${2-}" 1 100
      lose=$2
      shift
      ;;
    --verdict)
      verdicts+=("$1" "${2-}")
      shift
      ;;
    *) flags+=("$1") ;;
  esac
  shift || fail "the last of '${flags[*]} ${verdicts[*]}' needs a value" "scripts/vm/pair.sh --help"
done
(( ${#flags[@]} > 0 )) || flags=(--target 20k)
# What is judged is the whole: several clients are judged where they are added up.
(( clients > 1 )) || flags+=("${verdicts[@]}")
prepare
token="TOKEN=$(head -c 24 /dev/urandom | base64)"

# The clients say when they are done.
job server "$token" ADDRESS="$server/24" <<JOB
scripts/vm/guest/prepare.sh server
scripts/vm/guest/server.sh start
for client in {1..$clients}; do nc -l -p 9999 >/dev/null; done
scripts/vm/guest/server.sh stop
(( $clients == 1 )) || scripts/vm/guest/server.sh merge pair ${verdicts[*]@Q}
JOB
links=()
for (( k = 1; k <= clients; k++ )); do
  job "client-$k" "$token" ADDRESS="$network.$(( 10 + k ))/24" <<JOB
code=0
scripts/vm/guest/prepare.sh client $k $clients
scripts/vm/guest/client.sh $k $clients pair ${flags[*]@Q} || code=\$?
for again in {1..30}; do
  echo over | nc -w 1 $server 9999 && break
  sleep 1
done
exit \$code
JOB
  mapfile -t -O "${#links[@]}" links < <(link "server-$k" "client-$k" "$(( 100 + k ))" "$k")
done

echo "$(( clients + 1 )) machines with $memory_mib MiB each under $accelerated_by" >&2
start_machine server "${links[@]}"
for (( k = 1; k <= clients; k++ )); do
  to=server-$k
  if (( lose > 0 )); then
    to=lossy-$k
    lose_syns "$to" "server-$k" "$lose" "${listen##*:}"
  fi
  mapfile -t links < <(link "client-$k" "$to" "$(( 10 + k ))" 0)
  start_machine "client-$k" "${links[@]}"
done
for (( k = 1; k <= clients; k++ )); do
  finish_machine "client-$k" "$seconds" server
  cat "$work/client-$k/out/stderr" >&2
  cat "$work/client-$k/out/stdout"
  code=$exit_code
done
finish_machine server 60
if (( clients == 1 )); then
  if (( exit_code != 0 )); then
    cat "$work/server/out/stderr" >&2
    fail "the server's machine ended with $exit_code" "" 4
  fi
  keep_results client-1
else
  cat "$work/server/out/stderr" >&2
  cat "$work/server/out/stdout"
  code=$exit_code
  keep_results server
fi
exit "$code"
