#!/usr/bin/env bash
# One experiment in Vagrant's machines: up, a run, a sweep of targets, halt. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=fail.bash
source scripts/fail.bash

usage() {
  cat <<TEXT
usage: scripts/vm-experiment.sh [--target N] [--sweep 'N N…'] [--keep] [FLAGS]

Brings up a server and CLIENTS=2 client machines (Vagrantfile: sizes and ways, by environment), makes one run of
--target connections, then one for each of --sweep, fetches the results, and halts the machines.

  --target N       connections of the run                     [default: 20k]
  --sweep 'N N…'   the targets of the runs after it           [default: 5k 10k 20k 50k; '' for none]
  --results DIR    where results go                           [default: results]
  --keep           leave the machines running
  --verdict EXPR   of each run; may be given several times
  FLAGS            of each run, such as --hold 30s
TEXT
}

target=20k sweep='5k 10k 20k 50k' keep=false results=results flags=() verdicts=()
while (( $# > 0 )); do
  case $1 in
    --target | --sweep | --results)
      (( $# > 1 )) || fail "$1 needs a value" "scripts/vm-experiment.sh --help"
      declare "${1#--}=$2"
      shift
      ;;
    --verdict)
      verdicts+=("$1" "${2-}")
      shift
      ;;
    --keep) keep=true ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) flags+=("$1") ;;
  esac
  shift || fail "--verdict needs a value" "scripts/vm-experiment.sh --help"
done
for count in $target $sweep; do
  [[ $count =~ ^[1-9][0-9]*[kM]?$ ]] || fail "'$count' is not a number of connections" "as in 20k"
done
export CLIENTS=${CLIENTS:-2}
# What is judged is the whole: several clients are judged where they are added up.
(( CLIENTS > 1 )) || flags+=("${verdicts[@]}")
command -v vagrant >/dev/null || fail "there is no 'vagrant' command" \
  "sudo apt-get install vagrant vagrant-libvirt; without it, scripts/vm/pair.sh needs qemu alone" 3
mkdir -p "$results"

guest=/c10k/scripts/vm/guest
# The words go through one more shell, in the machine.
in_machine() { vagrant ssh --no-tty -c "sudo $(printf "%q " "${@:2}")" "$1" </dev/null; }

# Everything below results/ in a machine that is not here yet.
fetch() { in_machine "$1" tar -C /c10k/results -c . | tar -C "$results" -x --skip-old-files; }

# By the trap.
# shellcheck disable=SC2317
end() {
  local code=$? stopped=0
  in_machine server "$guest/server.sh" stop || stopped=$?
  $keep || vagrant halt
  # What the run came to counts before what its server could not write.
  exit $(( code != 0 ? code : stopped ))
}

# One run named $1 of $2 connections; every client is told to begin, and all have ended when it returns.
run() {
  local k code=0 pids=()
  for (( k = 1; k <= CLIENTS; k++ )); do
    in_machine "client-$k" "$guest/client.sh" "$k" "$CLIENTS" "$1" --target "$2" "${flags[@]}" &
    pids+=($!)
  done
  for k in "${pids[@]}"; do wait "$k" || code=$?; done
  if (( CLIENTS == 1 )); then
    fetch client-1
    return "$code"
  fi
  # Shards have left what they counted with the server.
  code=0
  in_machine server "$guest/server.sh" merge "$1" "${verdicts[@]}" || code=$?
  fetch server
  return "$code"
}

[[ ${BUILD:-host} != host || -n ${C10K_LAB-} ]] || cargo build --release --locked --bin c10k-lab
trap end EXIT
vagrant up
in_machine server "$guest/server.sh" start
code=0
for count in $target $sweep; do
  run "vm-$(date -u +%Y%m%dT%H%M%SZ)-$count" "$count" || code=$?
done
exit "$code"
