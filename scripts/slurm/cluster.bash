# A Slurm cluster on hosts that are namespaces: munged and slurmctld on the head, a slurmd on each of the nodes n1, n2, …
# Sourced by cluster.sh and prove.sh, after nodes.bash; not a program of its own.
#
# Nothing of the machine's own Slurm or munge is read, written or started: key, sockets, configuration, spools and logs
# are in $WORK.
# shellcheck shell=bash

# Addresses that each node has of its own.
ADDRESSES=2

check_slurm() {
  local command
  for command in munged slurmctld slurmd sbatch srun sinfo scontrol; do
    PATH=$PATH:/usr/sbin command -v "$command" >/dev/null ||
      fail "there is no '$command' command" "sudo apt-get install slurm-wlm munge" 3
  done
}

write_configuration() {
  local nodes=$1 number
  # A job's own steps ask for no more than one node's processors, so what the machine really has does not matter.
  cat >"$SLURM_CONF" <<TEXT
ClusterName=c10k
SlurmctldHost=head($HEAD)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A credential lives for 5 s: a job of a node that is gone can be started again at once.
AuthInfo=cred_expire=5,socket=$WORK/munge.socket
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool.%n
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd.%n.pid
SlurmctldLogFile=$WORK/slurmctld.log
SlurmdLogFile=$WORK/slurmd.%n.log
MpiDefault=none
SelectType=select/linear
TaskPlugin=task/none
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/none
# A job has the limits of slurmd's host, not of where it was submitted.
PropagateResourceLimits=NONE
ReturnToService=2
SlurmdTimeout=15
KillWait=5
SlurmdParameters=config_overrides
PartitionName=c10k Nodes=ALL Default=YES MaxTime=INFINITE State=UP
TEXT
  for (( number = 1; number <= nodes; number++ )); do
    echo "NodeName=n$number NodeAddr=$NETWORK.$number.1 CPUs=1 State=UNKNOWN" >>"$SLURM_CONF"
  done
  # Neither plugin is used for anything here. Left to find out by itself slurmd fails without cgroup v2, and with it asks
  # the machine's systemd for a scope, which is not reached from here (cgroup.conf(5), IgnoreSystemd).
  echo "CgroupPlugin=cgroup/v1" >"$WORK/cgroup.conf"
}

start_munge() {
  (umask 077 && head -c 1024 /dev/urandom >"$WORK/munge.key")
  munged --foreground --socket="$WORK/munge.socket" --key-file="$WORK/munge.key" --pid-file="$WORK/munge.pid" \
    --log-file="$WORK/munge.log" --seed-file="$WORK/munge.seed" --num-threads=2 --force \
    </dev/null >"$WORK/munged.out" 2>&1 &
  until_true 10 munge --socket="$WORK/munge.socket" --no-input ||
    fail "munged has not come up: $(tail -n 3 "$WORK/munged.out")" "" 3
}

start_slurmd() {
  mkdir -p "$WORK/spool.$1"
  start_on "$1" "slurmd.$1" slurmd -D
}

nodes_ready() { [[ $(sinfo --noheader --format=%D --states=idle) == "$1" ]]; }

# A cluster of so many nodes, ready for jobs.
start_cluster() {
  local nodes=$1 number
  PATH=$PATH:/usr/sbin
  export SLURM_CONF=$WORK/slurm.conf
  # No name is asked for outside: hosts have their addresses from here.
  { echo "127.0.0.1 localhost" && echo "$HEAD head"; } >"$WORK/hosts"
  for (( number = 1; number <= nodes; number++ )); do echo "$NETWORK.$number.1 n$number" >>"$WORK/hosts"; done
  mount --bind "$WORK/hosts" /etc/hosts
  mkdir -p "$WORK/state"
  write_configuration "$nodes"
  start_munge
  slurmctld -D </dev/null >"$WORK/slurmctld.out" 2>&1 &
  for (( number = 1; number <= nodes; number++ )); do
    make_node "n$number" "$number" "$ADDRESSES"
    start_slurmd "n$number"
  done
  until_true 60 nodes_ready "$nodes" ||
    fail "the cluster has not come up: $(sinfo 2>&1; tail -n 5 "$WORK"/slurm*.{log,err})" "" 3
}

# A node that was without power is given back to a cluster of so many: return_node NODE COUNT.
return_node() {
  give_power "$1"
  start_slurmd "$1"
  # A node that was away for less than SlurmdTimeout was idle all the time for slurmctld.
  local number
  for (( number = 1; number <= $2; number++ )); do
    until_true 30 on_node "n$number" timeout 5 bash -c ": <'/dev/tcp/$1/6818'" ||
      fail "slurmd on $1 is not reached from n$number" "" 3
  done
  until_true 60 nodes_ready "$2" || fail "$1 has not come back: $(sinfo 2>&1; tail -n 5 "$WORK/slurmctld.log")" "" 3
}
