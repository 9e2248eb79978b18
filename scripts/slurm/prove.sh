#!/usr/bin/env bash
# Proves scripts/slurm/c10k.sbatch on a cluster of three nodes in namespaces, with one `c10k-lab serve`: 30,000 held,
# 10,000 from each node's own addresses, the merged record is the sum of the shards and what the server counts; and a
# node that loses power in the ramp and in the hold, with --on-lost-shard fail and degrade.
#
#   sudo scripts/slurm/prove.sh
#
# Takes about two minutes, and is ended after LONGEST_SECONDS [default: 900]. Needs root, python3, ss, and Debian's slurm-wlm
# and munge. C10K_BIN names the folder of the program; without it the debug one is built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../nodes.bash
source "$here/../nodes.bash"
# shellcheck source-path=SCRIPTDIR source=cluster.bash
source "$here/cluster.bash"
# shellcheck source-path=SCRIPTDIR source=../proof.bash
source "$here/../proof.bash"
cd "$here/../.."
PROOF=$here/../proof.py

submit() {
  local file=$1 job
  shift
  job=$(cd "$WORK" && C10K_MERGE_FLAGS="--verdict $VERDICT" sbatch --parsable --nodes="$SHARDS" --output="$file" "$here/c10k.sbatch" \
    "$SERVER:9000" "$SERVER:9900" "$WORK/token" --rendezvous-timeout 30s "$@")
  echo "$WORK/c10k-$job" >"$file.results"
  until_true 120 job_has_ended "$job" || fail "job $job is not over after 120 s: $(scontrol --oneliner show job "$job")" "" 99
  # ExitCode=CODE:SIGNAL
  return "$(scontrol --oneliner show job "$job" | sed -E 's/.* ExitCode=([0-9]+):.*/\1/')"
}

job_has_ended() { scontrol --oneliner show job "$1" | grep -Eq ' JobState=(COMPLETED|FAILED|NODE_FAIL|CANCELLED|TIMEOUT) '; }

lose_node() { cut_power "$1"; }

give_node_back() { return_node "$1" "$SHARDS"; }

check_slurm
command -v python3 >/dev/null || fail "there is no 'python3' command" "sudo apt-get install python3" 3
build_programs
enter_own_namespaces "$LONGEST_SECONDS" "$@"
start_cluster "$SHARDS"
start_server
prove_engine
say "all of it holds"
