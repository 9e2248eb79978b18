# A command in namespaces that end with the script. Sourced by scripts; not a program of its own.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=fail.bash
source "$(dirname "${BASH_SOURCE[0]}")/fail.bash"

# The process of unshare(1), while there is one.
NAMESPACES=

# Runs a command as the first process of a process namespace, in more namespaces by flags of unshare(1), and ends the script
# with the command's exit code: run_in_namespaces SECONDS FLAG… -- COMMAND…
#
# Nothing of it is left when the script is over, however that comes: the kernel ends every process of a process namespace
# with its first one. After SECONDS, 0 for never, the script ends it.
#
# unshare(1) blocks INT and TERM while it waits for its child, so that none of them ends it or reaches the child; only the
# child's end and KILL do. Therefore this shell stays, and hears the signals.
run_in_namespaces() {
  local seconds=$1 code=0 clock='' ended=''
  shift
  trap end_namespaces EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  # In the background, where a shell would give it no stdin and have it ignore INT and QUIT. Where this shell is killed the
  # kernel kills it.
  setpriv --pdeathsig KILL env --default-signal=INT,QUIT \
    unshare --pid --fork --kill-child --mount-proc "$@" <&0 &
  NAMESPACES=$!
  if (( seconds == 0 )); then
    wait "$NAMESPACES" || code=$?
  else
    setpriv --pdeathsig KILL sleep "$seconds" </dev/null >/dev/null 2>&1 &
    clock=$!
    wait -n -p ended "$NAMESPACES" "$clock" || code=$?
    [[ $ended == "$NAMESPACES" ]] ||
      fail "${0##*/} was not over after $seconds s, and was ended" "what it said last is where it stood" 4
    kill "$clock"
  fi
  NAMESPACES=
  exit "$code"
}

# By the trap. unshare(1) tells the end of its child when the namespace is empty: it is waited for.
# shellcheck disable=SC2317
end_namespaces() {
  local first=''
  [[ -n $NAMESPACES ]] || return 0
  # Stopped it starts no child that would be missed.
  kill -STOP "$NAMESPACES" 2>/dev/null || return 0
  first=$(cat "/proc/$NAMESPACES/task/$NAMESPACES/children" 2>/dev/null) || true
  # shellcheck disable=SC2086 # It ends with a blank, and is one number or none.
  [[ -z ${first// /} ]] || kill -KILL $first 2>/dev/null || true
  # Where it has no child, or this kernel does not tell it, --kill-child does the same a moment later.
  [[ -n ${first// /} ]] || kill -KILL "$NAMESPACES" 2>/dev/null || true
  kill -CONT "$NAMESPACES" 2>/dev/null || true
  wait "$NAMESPACES" 2>/dev/null || true
}
