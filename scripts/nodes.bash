# Hosts that are namespaces: each with a network, a host name and addresses of its own, joined by one bridge. What
# scripts/slurm and scripts/ssh are proven on. Sourced by them; not a program of its own.
#
# All of it stands in a network, mount and process namespace that the script enters first: whatever ends the script ends
# every process in there and takes files, links and addresses with it. The machine's own are not touched.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=namespaces.bash
source "$(dirname "${BASH_SOURCE[0]}")/namespaces.bash"

# The bridge's network, of which the script itself has the first address.
NETWORK=10.17
HEAD=$NETWORK.0.1

declare -A NODE_PID=()

say() { printf '== %s\n' "$*" >&2; }

# Starts the script again, with its arguments, in namespaces of its own, for so many seconds or, with 0, as long as it
# takes: enter_own_namespaces SECONDS ARGUMENT…. The folder $WORK is one in memory, and TMPDIR one in there.
enter_own_namespaces() {
  local seconds=$1
  shift
  if [[ ${C10K_NODES_INSIDE-} != "$PPID.$$" ]]; then
    (( $(id -u) == 0 )) || fail "hosts in namespaces take root here" "sudo $0" 3
    local command
    for command in unshare nsenter setpriv ip ss; do
      command -v "$command" >/dev/null || fail "there is no '$command' command" "sudo apt-get install iproute2 util-linux" 3
    done
    # The first process of its namespace has the id 1, and a parent outside of it, which is 0 there.
    export C10K_NODES_INSIDE=0.1
    run_in_namespaces "$seconds" --net --mount --uts -- bash "$0" "$@"
  fi
  unset C10K_NODES_INSIDE
  # The first process of a namespace hears only those signals that it asks for.
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mount -t tmpfs -o mode=755 tmpfs /run
  WORK=/run/nodes
  mkdir -p "$WORK/tmp"
  # What is killed here leaves its files in memory, which are gone with the namespace.
  export TMPDIR=$WORK/tmp
  hostname head
  ip link set lo up
  ip link add bridge type bridge
  ip link set bridge up
  ip addr add "$HEAD/16" dev bridge
}

# Waits until a command succeeds, at most so many seconds.
until_true() {
  local longest=$1 began=$SECONDS
  shift
  until "$@" >/dev/null 2>&1; do
    (( SECONDS - began < longest )) || return 1
    sleep 0.05
  done
}

has_own_network() { [[ $(readlink "/proc/$1/ns/net") != "$(readlink /proc/self/ns/net)" && $(nsenter -t "$1" -u hostname) == "$2" ]]; }

# A host NAME with the addresses NETWORK.N.1 to NETWORK.N.COUNT: make_node NAME N COUNT.
make_node() {
  local name=$1 number=$2 count=$3 last
  # Journals of a profile are of one host, and each has its own.
  # shellcheck disable=SC2016 # The inner shell expands it.
  unshare --net --uts --mount -- bash -c 'mkdir -p /run/c10k-lab && mount -t tmpfs -o mode=700 tmpfs /run/c10k-lab
    hostname "$1" && exec sleep infinity' make-node "$name" &
  NODE_PID[$name]=$!
  until_true 10 has_own_network "$!" "$name" || fail "the host $name has not come up" "" 3
  ip link add "to-$name" type veth peer name eth0 netns "${NODE_PID[$name]}"
  ip link set "to-$name" master bridge up
  on_node "$name" ip link set lo up
  on_node "$name" ip link set eth0 up
  for (( last = 1; last <= count; last++ )); do
    on_node "$name" ip addr add "$NETWORK.$number.$last/16" dev eth0
  done
}

# Runs a command on a host, in the present folder.
on_node() {
  local name=$1
  shift
  nsenter --target "${NODE_PID[$name]}" --net --uts --mount --wdns="$PWD" -- "$@"
}

# Starts a program on a host that goes on by itself, with its output in $WORK: start_on NODE FILE COMMAND…
start_on() {
  local name=$1 file=$2
  shift 2
  nsenter --target "${NODE_PID[$name]}" --net --uts --mount --wdns="$PWD" -- setsid "$@" \
    </dev/null >"$WORK/$file.out" 2>"$WORK/$file.err" &
  # One that is killed with its host is no news.
  disown "$!"
}

# The processes of a host, but for the one that keeps its namespaces.
processes_of() {
  local own process
  own=$(readlink "/proc/${NODE_PID[$1]}/ns/net")
  for process in /proc/[0-9]*; do
    if [[ $(readlink "$process/ns/net" 2>/dev/null) == "$own" && ${process#/proc/} != "${NODE_PID[$1]}" ]]; then
      echo "${process#/proc/}"
    fi
  done
}

# A host without power: its cable is silent at once, and nothing of it is running any more.
cut_power() {
  local pids
  ip link set "to-$1" down
  mapfile -t pids < <(processes_of "$1")
  (( ${#pids[@]} == 0 )) || kill -KILL "${pids[@]}" 2>/dev/null || true
}

give_power() { ip link set "to-$1" up; }
