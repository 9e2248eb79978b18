#!/usr/bin/env bash
# Proves that nothing stays of the scripts that make namespaces, however they end: scripts/vm/rehearse.sh,
# scripts/slurm/cluster.sh, scripts/slurm/prove.sh and scripts/ssh/prove.sh are ended in the middle by TERM, INT, HUP and
# KILL, after their time and by an error. After each there is no process, namespace, mount, link or file of it.
#
#   scripts/prove-ends.sh
#
# Takes about two minutes. Needs C10K_BIN, the folder of c10k-lab, and what those scripts need. An ordinary user proves
# scripts/vm/rehearse.sh alone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=fail.bash
source "$here/fail.bash"
C10K_BIN=$(cd "${C10K_BIN:-$here/../target/debug}" && pwd) || fail "C10K_BIN names no folder" "the one of c10k-lab" 3
[[ -x $C10K_BIN/c10k-lab ]] || fail "there is no c10k-lab in '$C10K_BIN'" "C10K_BIN names its folder" 3
export C10K_BIN C10K_LAB=$C10K_BIN/c10k-lab
scratch=$(mktemp -d)
script=
trap 'trap - EXIT; [[ -z $script ]] || kill -KILL "$script" 2>/dev/null || true; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Lines `PROCESS NAMESPACE` of all processes, for namespaces other than this shell's.
foreign() {
  local own
  own=$(readlink /proc/self/ns/{net,mnt,pid,uts,user} | tr '\n' ' ')
  # Processes end while it looks.
  { find /proc -mindepth 3 -maxdepth 3 -path '/proc/[0-9]*/ns/*' -printf '%P %l\n' 2>/dev/null || true; } |
    awk -v own="$own" 'BEGIN { split(own, list); for (i in list) known[list[i]] = 1 }
      $2 ~ /^(net|mnt|pid|uts|user):/ && !($2 in known) { sub(/\/.*/, "", $1); print $1, $2 }'
}

# The script that was started has a mark in its environment, which its processes inherit but where sshd starts them.
has_mark() { grep -qz "^C10K_ENDS_MARK=$mark$" "/proc/$1/environ" 2>/dev/null; }

# Its namespaces.
marked() {
  local process namespace
  foreign | while read -r process namespace; do
    if has_mark "$process"; then echo "$namespace"; fi
  done | sort -u
}

# Its processes: those with the mark, and those in its namespaces, which are in the file $1. One that is over, and of which
# its parent has not heard yet, is none.
processes_of() {
  local process
  {
    for process in /proc/[0-9]*; do
      if has_mark "${process#/proc/}"; then echo "${process#/proc/}"; fi
    done
    foreign | grep -Fwf "$1" | cut -d ' ' -f 1 || true
  } | sort -u | while read -r process; do
    if grep -q '^State:.[^ZX]' "/proc/$process/status" 2>/dev/null; then echo "$process"; fi
  done
}

# What there is of this machine's own.
own_things() {
  cut -d ' ' -f 3- /proc/self/mountinfo
  ip -o link show | cut -d ' ' -f 2
  find /sys/fs/cgroup -type d -name '*slurm*' 2>/dev/null
}

# Conditions: where the middle is.
command_runs() { [[ -e $scratch/there ]]; }
swarm_runs() {
  local process
  marked >"$scratch/namespaces"
  for process in $(processes_of "$scratch/namespaces"); do
    [[ $(cat "/proc/$process/comm" 2>/dev/null) != c10k-swarm ]] || return 0
  done
  return 1
}

# Starts a script, ends it by a signal once a condition holds, or waits for its own end, and looks for what is left:
# prove_end WHAT SIGNAL|own CODE CONDITION COMMAND…
prove_end() {
  local what=$1 how=$2 expected=$3 condition=$4 code=0 before left began
  shift 4
  before=$(own_things)
  mark=$$-$RANDOM-$SECONDS
  rm -rf "${scratch:?}"/*
  mkdir "$scratch/tmp"
  # INT is one that it hears, as from a terminal.
  C10K_ENDS_MARK=$mark TMPDIR=$scratch/tmp setpriv --pdeathsig KILL env --default-signal=INT,QUIT "$@" \
    </dev/null >"$scratch/said" 2>&1 &
  script=$!
  began=$SECONDS
  until "$condition"; do
    if ! kill -0 "$script" 2>/dev/null || (( SECONDS - began > 120 )); then
      tail -n 20 "$scratch/said" >&2
      fail "$what: it did not come to its middle" "" 4
    fi
    sleep 0.2
  done
  marked >"$scratch/namespaces"
  (( $(grep -c '^pid:' "$scratch/namespaces") == 1 && $(wc -l <"$scratch/namespaces") >= 3 )) ||
    fail "$what: it is not in namespaces of its own: $(tr '\n' ' ' <"$scratch/namespaces")" "" 1
  began=$SECONDS
  [[ $how == own ]] || kill -s "$how" "$script"
  until ! kill -0 "$script" 2>/dev/null; do
    (( SECONDS - began < 20 )) || fail "$what: it is still there 20 s after $how" "" 1
    sleep 0.05
  done
  wait "$script" 2>/dev/null || code=$?
  # A script that is killed cannot wait for what the kernel does then.
  [[ $how != KILL ]] || sleep 1
  script=
  (( code == expected )) || fail "$what: it ended with $code after $how, expected $expected: $(tail -n 3 "$scratch/said")" "" 1
  mapfile -t left < <(processes_of "$scratch/namespaces")
  (( ${#left[@]} == 0 )) || {
    ps -o pid,ppid,args -p "${left[*]}" >&2 || true
    fail "$what: after $how there are still processes of it" "" 1
  }
  [[ $(own_things) == "$before" ]] || fail "$what: after $how mounts or links are others than before" "" 1
  [[ -z $(ls -A "$scratch/tmp") ]] || fail "$what: after $how there are still files: $(ls -A "$scratch/tmp")" "" 1
  echo "$what: nothing is left after $how, exit code $code" >&2
}

rehearsal=(env CLIENTS=2 "$here/vm/rehearse.sh" "$scratch/rehearsed" --target 500 --sweep '' --hold 60s)
prove_end "the rehearsal" TERM 143 swarm_runs "${rehearsal[@]}"
prove_end "the rehearsal" INT 130 swarm_runs "${rehearsal[@]}"
prove_end "the rehearsal" HUP 143 swarm_runs "${rehearsal[@]}"
prove_end "the rehearsal" KILL 137 swarm_runs "${rehearsal[@]}"
LONGEST_SECONDS=15 prove_end "the rehearsal, in 15 s" own 4 swarm_runs "${rehearsal[@]}"
if (( $(id -u) != 0 )); then
  echo "SKIPPED: hosts in namespaces take root, so Slurm's and ssh's are not looked at" >&2
  exit 0
fi
prove_end "the cluster" TERM 143 command_runs "$here/slurm/cluster.sh" --nodes 1 bash -c "touch '$scratch/there'; sleep 1d"
prove_end "the cluster, by an error" own 7 command_runs "$here/slurm/cluster.sh" --nodes 1 \
  bash -c "touch '$scratch/there'; sleep 3; exit 7"
prove_end "Slurm's proof" TERM 143 swarm_runs "$here/slurm/prove.sh"
prove_end "Slurm's proof" INT 130 swarm_runs "$here/slurm/prove.sh"
prove_end "ssh's proof" TERM 143 swarm_runs "$here/ssh/prove.sh"
prove_end "ssh's proof" INT 130 swarm_runs "$here/ssh/prove.sh"
prove_end "ssh's proof" KILL 137 swarm_runs "$here/ssh/prove.sh"
