#!/usr/bin/env bash
# Proves scripts/ssh/swarm.sh on three hosts in namespaces, each with an sshd, and one `c10k-lab serve`: 30,000 held,
# 10,000 from each host's own addresses, the merged record is the sum of the shards and what the server counts; and a host
# that loses power in the ramp and in the hold, with --on-lost-shard fail and degrade. A host that does not answer is an error.
#
#   sudo scripts/ssh/prove.sh
#
# Takes about two minutes, and is ended after LONGEST_SECONDS [default: 900]. Needs root, python3, ss, and Debian's
# openssh-server, of which no service is started: keys, configuration and logs are in memory, and nobody's ~/.ssh is read.
# C10K_BIN names the folder of the program; without it the debug one is built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../nodes.bash
source "$here/../nodes.bash"
# shellcheck source-path=SCRIPTDIR source=../proof.bash
source "$here/../proof.bash"
cd "$here/../.."
PROOF=$here/../proof.py

start_sshd() {
  start_on "$1" "sshd.$1" "$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f "$WORK/sshd_config"
}

answers_ssh() { timeout 10 ssh -n -F "$WORK/ssh_config" "$1" true; }

await_sshd() {
  until_true 20 answers_ssh "$1" || fail "sshd on $1 does not answer: $(cat "$WORK/sshd.$1.err")" "" 3
}

# An account whose password is locked, as root's is on many machines, is refused by an sshd without PAM (sshd(8)): in here
# it is one that no password opens.
unlock_root() {
  [[ -e /etc/shadow ]] || return 0
  (umask 077 && sed 's/^root:.*/root:*:19000:0:99999:7:::/' /etc/shadow >"$WORK/shadow")
  mount --bind "$WORK/shadow" /etc/shadow
}

# sshds with a key of their own for all hosts, and a client that knows it.
start_hosts() {
  local number
  mkdir -p /run/sshd
  unlock_root
  ssh-keygen -q -t ed25519 -N '' -f "$WORK/host_key"
  ssh-keygen -q -t ed25519 -N '' -f "$WORK/user_key"
  cp "$WORK/user_key.pub" "$WORK/authorized_keys"
  cat >"$WORK/sshd_config" <<TEXT
Port 22
HostKey $WORK/host_key
AuthorizedKeysFile $WORK/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
PrintMotd no
# What a host that loses power had made is gone with the script too.
SetEnv TMPDIR=$WORK
TEXT
  cat >"$WORK/ssh_config" <<TEXT
Host *
  User root
  IdentityFile $WORK/user_key
  IdentitiesOnly yes
  UserKnownHostsFile $WORK/known_hosts
  GlobalKnownHostsFile none
  BatchMode yes
  ConnectTimeout 5
  ServerAliveInterval 5
  ServerAliveCountMax 3
TEXT
  for (( number = 1; number <= SHARDS; number++ )); do
    make_node "n$number" "$number" 2
    echo "$NETWORK.$number.1 $(cut -d ' ' -f 1,2 "$WORK/host_key.pub")" >>"$WORK/known_hosts"
    printf 'Host n%s\n  HostName %s.%s.1\n' "$number" "$NETWORK" "$number" >>"$WORK/ssh_config"
    start_sshd "n$number"
    await_sshd "n$number"
  done
}

submit() {
  local file=$1 run=${1##*/}
  shift
  echo "$WORK/results-$run" >"$file.results"
  "$here/swarm.sh" --server "$SERVER:9000" --control "$SERVER:9900" --token-file "$WORK/token" \
    --host n1 --host n2 --host n3 --ssh-arg -F --ssh-arg "$WORK/ssh_config" --run-id "ssh-$run" \
    --results "$WORK/results-$run" --verdict "$VERDICT" --program "$C10K_BIN/c10k-swarm" -- --rendezvous-timeout 30s "$@" >"$file" 2>&1
}

# A host whose packets all get lost: ssh gives up, where the kernel by itself would wait for two minutes.
prove_silent_host() {
  local began=$SECONDS code=0 file=$WORK/silent
  say "a host that does not answer"
  ip neigh add "$NETWORK.8.1" lladdr 02:00:00:00:00:08 nud permanent dev bridge
  printf 'Host silent\n  HostName %s.8.1\n' "$NETWORK" >>"$WORK/ssh_config"
  answers_ssh silent 2>"$file" || code=$?
  (( code == 255 && SECONDS - began < 10 )) ||
    fail "ssh to it ended with $code after $(( SECONDS - began )) s, where 255 after 5 s was expected: $(cat "$file")" "" 1
  began=$SECONDS code=0
  "$here/swarm.sh" --server "$SERVER:9000" --control "$SERVER:9900" --token-file "$WORK/token" --host silent \
    --ssh-arg -F --ssh-arg "$WORK/ssh_config" --run-id ssh-silent --results "$WORK/results-silent" -- --target 100 \
    >"$file" 2>&1 || code=$?
  if (( code == 0 || SECONDS - began >= 30 )) || ! grep -q '^shard 1 on silent ended with exit code 255$' "$file"; then
    fail "swarm.sh ended with $code after $(( SECONDS - began )) s: $(cat "$file")" "" 1
  fi
}

lose_node() { cut_power "$1"; }

give_node_back() {
  give_power "$1"
  start_sshd "$1"
  await_sshd "$1"
}

for command in ssh ssh-keygen python3; do
  command -v "$command" >/dev/null || fail "there is no '$command' command" "sudo apt-get install openssh-client python3" 3
done
command -v sshd >/dev/null || [[ -x /usr/sbin/sshd ]] ||
  fail "there is no 'sshd' command" "sudo apt-get install openssh-server" 3
build_programs
enter_own_namespaces "$LONGEST_SECONDS" "$@"
start_hosts
start_server
prove_silent_host
prove_engine
say "all of it holds"
