# What is proven of every engine that places shards: 30,000 connections held from three hosts, and what a lost host does,
# in the ramp and in the hold, with --on-lost-shard fail and degrade. Sourced by scripts/slurm/prove.sh and
# scripts/ssh/prove.sh after nodes.bash; not a program of its own.
#
# An engine brings two functions: `submit FILE FLAG…` runs a swarm on the nodes n1 to n3 to its end, with its output in
# FILE, puts the folder of results into RESULTS.of of $WORK, and returns the exit code of the merged run; `lose_node N`
# and `give_node_back N` take a host away and give it back.
# shellcheck shell=bash

SERVER=$NETWORK.9.1
SHARDS=3
# After which it is ended.
LONGEST_SECONDS=${LONGEST_SECONDS:-900}

# The programs in $WORK/bin: C10K_BIN, or the debug ones, built before the namespaces are entered.
build_programs() {
  [[ -n ${C10K_BIN-} ]] || {
    cargo build --quiet --locked -p c10k-lab --bin c10k-lab
    C10K_BIN=$(cargo metadata --format-version 1 --no-deps --offline |
      python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug
  }
  [[ -x $C10K_BIN/c10k-lab ]] || fail "there is no c10k-lab in $C10K_BIN" "C10K_BIN names the folder of the program" 3
  C10K_BIN=$(cd "$C10K_BIN" && pwd)
  export C10K_BIN
}

# `c10k-lab serve` on a host of its own, and the token of its control port.
start_server() {
  local name
  mkdir "$WORK/bin"
  ln -s "$C10K_BIN/c10k-lab" "$WORK/bin/c10k-lab"
  for name in server swarm collector; do ln -s c10k-lab "$WORK/bin/c10k-$name"; done
  export C10K_BIN=$WORK/bin
  (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$WORK/token" && echo >>"$WORK/token")
  make_node server 9 1
  start_on server serve "$C10K_BIN/c10k-lab" serve --listen "$SERVER:9000" --profile tuned \
    --control "$SERVER:9900" --token-file "$WORK/token" --results "$WORK/server"
  until_true 30 control_answers || fail "serve has not come up: $(cat "$WORK/serve.err")" "" 3
}

control_answers() { : <"/dev/tcp/$SERVER/9900"; }

# Connections that the server's kernel has, counted by ss(8) and not by a program of ours.
established() { on_node server ss -Htn state established "( sport = :9000 )" | wc -l; }

# Cheap first: a list of all connections takes the server's kernel some time.
has_established() {
  # shellcheck disable=SC2016 # awk's own.
  (( $(on_node server awk '$1 == "TCP:" { print $3 }' /proc/net/sockstat) >= $1 )) && (( $(established) >= $1 ))
}

# The same at the swarms' ends: the server's kernel goes on counting those of a host that lost power, and a process that was
# killed leaves none that are established.
has_connected() {
  local number all=0
  for (( number = 1; number <= SHARDS; number++ )); do
    (( all += $(on_node "n$number" ss -Htn state established "( dport = :9000 )" | wc -l) )) || true
  done
  (( all >= $1 ))
}

# Where the run of a FILE has its results.
results_of() { cat "$1.results"; }

# What the merged record and the shards say, held against what is expected: check WHAT FILE EXPECTED…
check() {
  local what=$1 file=$2
  shift 2
  python3 "$PROOF" "$(results_of "$file")" "$@" || {
    show "$file"
    fail "$what: the record is not what was expected" "its folder was $(results_of "$file")" 1
  }
}

# What a run has said, where it has said anything.
show() { [[ ! -s $1 ]] || sed 's/^/    /' "$1" >&2; }

has_ended() { ! kill -0 "$1"; }

# The run of a FILE ends, and with the exit code that is expected: expect_exit WHAT CODE JOB FILE.
expect_exit() {
  local what=$1 expected=$2 job=$3 file=$4 code=0
  until_true 180 has_ended "$job" || {
    show "$file"
    fail "$what: the run is not over after 180 s" "" 1
  }
  wait "$job" || code=$?
  (( code == expected )) || {
    show "$file"
    fail "$what: exit code $code where $expected was expected" "" 1
  }
}

# All nodes hold, and the server has as many as they say.
prove_whole() {
  local target=$1 file=$WORK/whole seen job
  say "$target connections from $SHARDS hosts"
  submit "$file" --target "$target" --hold 8s --on-lost-shard fail &
  job=$!
  until_true 120 has_established "$target" || fail "$target connections were never there: $(show "$file" 2>&1)" "" 1
  seen=$(established)
  expect_exit "$target held" 0 "$job" "$file"
  check "$target held" "$file" --target "$target" --held "$target" --shards 1,2,3 --seen "$seen"
}

# A host is lost once so many are established: prove_loss NAME POLICY CONNECTIONS FLAG…
prove_loss() {
  local name=$1 policy=$2 connections=$3 file=$WORK/$1 lost_at job
  shift 3
  say "a host is lost in the ${name#*-}: $policy"
  submit "$file" --on-lost-shard "$policy" "$@" &
  job=$!
  until_true 60 has_connected "$connections" || fail "$connections connections were never there: $(show "$file" 2>&1)" "" 1
  lost_at=$(date +%s.%N)
  lose_node n3
  expect_exit "$name" 1 "$job" "$file"
  check "$name" "$file" --target 6000 --shards 1,2 --lost 3 --policy "$policy" --lost-at "$lost_at"
  give_node_back n3
}

# How late a busy machine is, is not what is proven.
# shellcheck disable=SC2034 # Of prove.sh.
VERDICT='echo_p95<=1h'

prove_engine() {
  prove_whole 30000
  prove_loss fail-ramp fail 2000 --target 6000 --rate 600/s --hold 60s
  prove_loss fail-hold fail 6000 --target 6000 --hold 60s
  prove_loss degrade-ramp degrade 2000 --target 6000 --rate 600/s --hold 5s
  prove_loss degrade-hold degrade 6000 --target 6000 --hold 10s
}
