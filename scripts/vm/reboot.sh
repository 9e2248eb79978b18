#!/usr/bin/env bash
# Resets the server's machine in mid-run, and proves what its next start finds; see --help.
set -euo pipefail
# shellcheck source=machine.bash
source "$(dirname "${BASH_SOURCE[0]}")/machine.bash"
# shellcheck source=guest/network.bash
source "$top/scripts/vm/guest/network.bash"

usage() {
  cat <<TEXT
usage: scripts/vm/reboot.sh [OPTIONS]

A server in one virtual machine, a client in another. With connections held, the server's machine is reset as by a loss
of power. Its /run is a disk, so the journal of its profile is still there when it is up again. Proven is then: the
client's run ended by itself as one that broke; the settings are those before the profile; the next start of the server
sets the journal aside and serves a second run; after its end the settings stand again as before.

$(usage_of_options)
TEXT
}

read_options anywhere "$@"
(( ${#words[@]} == 0 )) || fail "'${words[0]}' is not known" "scripts/vm/reboot.sh --help"
need mke2fs e2fsprogs
prepare
token="TOKEN=$(head -c 24 /dev/urandom | base64)"
job server "$token" ADDRESS="$server/24" <<'JOB'
# What the profile sets, as it stands.
settings() {
  local key
  awk -F '"' '/^"(net|fs)\./ { print $2 }' profiles/tuned.toml | while read -r key; do
    [[ ! -e /proc/sys/${key//.//} ]] || echo "$key $(<"/proc/sys/${key//.//}")"
  done
}
journals() { find /run/c10k-lab -type f -name '*.journal' 2>/dev/null; }
not_proven() { echo "NOT PROVEN: $1" >&2; exit 1; }

before=/run/settings-before
scripts/vm/guest/prepare.sh server
if [[ ! -e $before ]]; then
  settings >$before
  sync
  scripts/vm/guest/server.sh start
  [[ $(settings) != "$(<$before)" ]] || not_proven "the profile set nothing"
  [[ -n $(journals) ]] || not_proven "there is no journal"
  until (( $(awk '$1 == "TCP:" { print $3 }' /proc/net/sockstat) >= 300 )); do sleep 0.2; done
  echo b >/proc/sysrq-trigger
  sleep 60
  not_proven "the machine was not reset"
fi
echo "up again after the reset" >&2
[[ -n $(journals) ]] || not_proven "the journal did not survive"
[[ $(settings) == "$(<$before)" ]] || not_proven "settings of the profile survived"
scripts/vm/guest/server.sh start
[[ $(settings) != "$(<$before)" ]] || not_proven "the next start set nothing"
nc -l -p 9999 >/dev/null
scripts/vm/guest/server.sh stop
[[ -z $(journals) ]] || not_proven "a journal was left: $(journals)"
[[ $(settings) == "$(<$before)" ]] || not_proven "the settings are not as before"
JOB
job client "$token" ADDRESS="$network.11/24" <<JOB
scripts/vm/guest/prepare.sh client 1 1
first=0 second=0
scripts/vm/guest/client.sh 1 1 first --target 1k --hold 10s --in-flight 64 --connect-timeout 10s --probe-timeout 10s || first=\$?
scripts/vm/guest/client.sh 1 1 second --target 300 --hold 2s --in-flight 64 --connect-timeout 60s \\
  --probe-timeout 60s --verdict "echo_p95 <= 1h" || second=\$?
echo over | nc -w 10 $server 9999 || true
echo "exit codes: \$first of the run in which the server's machine was reset, \$second of the next" >&2
(( first == 4 && second == 0 ))
JOB
truncate -s 64M "$work/run.img"
mke2fs -q -t ext4 "$work/run.img"
echo "two machines with $memory_mib MiB each under $accelerated_by" >&2
mapfile -t links < <(link server client 10 0)
links+=(-drive "if=none,id=run,format=raw,file=$work/run.img" -device "virtio-blk-pci,drive=run")
start_machine server "${links[@]}"
mapfile -t of_client < <(link client server 11 0)
start_machine client "${of_client[@]}"

# The reset ends the first of its lives; the disk and the network are there for the second.
await_machine server || broke server "was ended after $seconds s, or qemu failed" "--time SECONDS gives it longer"
if unpack_machine server; then
  cat "$work/server/out/stderr" >&2
  fail "the server's machine was not reset, but ended with $exit_code" "" 4
fi
start_machine server "${links[@]}"
finish_machine client "$seconds" server
client_code=$exit_code
finish_machine server 60
cat "$work"/{client,server}/out/stderr >&2
(( client_code == 0 && exit_code == 0 )) ||
  fail "not proven: the client's machine ended with $client_code, the server's with $exit_code" "" 1
echo "proven: the journal of the machine that was reset was set aside, and its settings are as before" >&2
