#!/usr/bin/env bash
# A Slurm cluster for trying out a job, on this machine alone: hosts that are namespaces, with addresses of their own
# (10.17.1.1 and 10.17.1.2 for n1, and so on). It is there for one command, and gone with it.
#
#   sudo scripts/slurm/cluster.sh [--nodes N] [COMMAND …]
#
#   --nodes N   how many nodes, 1 to 9   [default: 3]
#   COMMAND     what is run on the head, as sbatch, srun -N3 hostname, or a shell   [default: bash]
#
# Needs root, and Debian's slurm-wlm and munge (`RUNLEVEL=1 apt-get install` starts no service of theirs).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../nodes.bash
source "$here/../nodes.bash"
# shellcheck source-path=SCRIPTDIR source=cluster.bash
source "$here/cluster.bash"

nodes=3
arguments=("$@")
while (( $# > 0 )); do
  case $1 in
    --nodes)
      [[ ${2-} =~ ^[1-9]$ ]] || fail "'${2-}' is no number of nodes: expected 1 to 9" "as in: --nodes 3" 2
      nodes=$2
      shift 2
      ;;
    -h | --help)
      sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*) fail "'$1' is not known" "$0 --help" 2 ;;
    *) break ;;
  esac
done
check_slurm
enter_own_namespaces 0 "${arguments[@]}"
start_cluster "$nodes"
say "a cluster of $nodes nodes; its files are in $WORK"
(( $# > 0 )) || set -- bash
status=0
"$@" || status=$?
exit "$status"
