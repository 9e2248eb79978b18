#!/usr/bin/env bash
# The server's machine, as root: the server, its profile and its control port.
#
#   server.sh start [FLAGS OF c10k-lab serve]     in the background; returns when the control port answers
#   server.sh stop                                in good order; the exit code is that of c10k-lab serve
#   server.sh merge RUN [FLAGS OF c10k-lab merge] adds up what the clients of RUN have left with the server
#
# What it says goes to /dev/shm/c10k-machine/said.
set -euo pipefail
# shellcheck source=network.bash
source "$(dirname "${BASH_SOURCE[0]}")/network.bash"
# Gone with a reboot.
results=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)/results
state=/dev/shm/c10k-machine

is_running() { [[ -s $state/pid ]] && kill -0 "$(<"$state/pid")" 2>/dev/null; }

start() {
  ! is_running || fail "the server runs already" "server.sh stop" 3
  mkdir -p "$state"
  rm -f "$state"/{pid,code}
  setsid "$0" hold "$@" </dev/null >"$state/said" 2>&1 &
  if ! await_control || ! is_running; then
    cat "$state/said" >&2
    fail "the server did not come up" "" 4
  fi
}

# Outlives the start, and notes how the server ended.
hold() {
  local code=0
  c10k-lab serve --listen "$listen" --control "$control" --token-file "$token" --profile tuned \
    --lease 60s --results "$results" "$@" &
  echo $! >"$state/pid"
  wait $! || code=$?
  echo "$code" >"$state/code"
}

stop() {
  local end=$(( SECONDS + 60 ))
  [[ -s $state/pid ]] || fail "no server was started" "server.sh start" 3
  kill -TERM "$(<"$state/pid")" 2>/dev/null || true
  until [[ -s $state/code ]]; do
    (( SECONDS < end )) || fail "the server is still there after 60 s" "" 4
    sleep 0.2
  done
  cat "$state/said" >&2
  exit "$(<"$state/code")"
}

merge() {
  local folders=("$results"/*-"$1")
  [[ -d ${folders[0]} ]] || fail "nothing of a run '$1' is in $results" "" 1
  c10k-lab merge "${folders[-1]}" "${@:2}"
}

case ${1-} in
  start | stop | hold | merge) "$@" ;;
  *) fail "'${1-}' is not known: expected start, stop or merge" "server.sh start" ;;
esac
