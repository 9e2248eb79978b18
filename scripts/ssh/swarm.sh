#!/usr/bin/env bash
# One swarm on many hosts, by ssh: each host is a shard of one run, all begin at one moment, and their results are put
# together here.
#
#   scripts/ssh/swarm.sh --server A:9000 --control A:9900 --token-file F --host [USER@]HOST … [-- FLAG OF c10k-swarm …]
#
#   --server       where `c10k-lab serve` listens; each host's own addresses on the way there are its sources
#   --control      its control port, where the shards meet
#   --token-file   a file here with the token; it reaches the hosts by stdin, and no command line shows it
#   --host         a host, as ssh knows it; as many as there are client machines
#   --run-id       the run's name                                   [default: ssh-TIME]
#   --results      where the shards' results and the merged record are put   [default: results/RUN_ID]
#   --program      c10k-swarm on the hosts                          [default: c10k-swarm]
#   --verdict      a condition of the merged run, such as 'echo_p99 <= 20ms'; may be given several times
#   --ssh-arg      a word for ssh, such as -p or 2222; may be given several times
#
# as in   scripts/ssh/swarm.sh --server 10.0.0.1:9000 --control 10.0.0.1:9900 --token-file ~/token \
#           --host c1 --host c2 --host c3 -- --target 150k --hold 1m
#
# --target and --rate are the whole run's: each shard takes its slice. ssh asks for nothing: the hosts' keys are known, and
# a key or an agent lets you in. A swarm ends with its ssh connection. The exit code is that of `c10k-lab merge`,
# which is found on the PATH or in the folder that C10K_BIN names.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../fail.bash"

server='' control='' token_file='' run=ssh-$(date -u +%Y%m%dT%H%M%SZ) results='' program=c10k-swarm
hosts=() ssh_args=() verdicts=()
while (( $# > 0 )); do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    --server | --control | --token-file | --host | --run-id | --results | --program | --verdict | --ssh-arg)
      (( $# > 1 )) || fail "$1 has no value" "${0##*/} --help"
      case $1 in
        --server) server=$2 ;;
        --control) control=$2 ;;
        --token-file) token_file=$2 ;;
        --host) hosts+=("$2") ;;
        --run-id) run=$2 ;;
        --results) results=$2 ;;
        --program) program=$2 ;;
        --verdict) verdicts+=(--verdict "$2") ;;
        --ssh-arg) ssh_args+=("$2") ;;
      esac
      shift 2
      ;;
    *) fail "'$1' is not known" "flags of c10k-swarm stand behind --; ${0##*/} --help" ;;
  esac
done
[[ -n $server && -n $control && -n $token_file ]] || fail "--server, --control and --token-file are needed" "${0##*/} --help"
(( ${#hosts[@]} > 0 )) || fail "no host is named" "--host for each client machine"
for host in "${hosts[@]}"; do
  [[ -n $host && $host != -* ]] || fail "'$host' is no host for ssh" "expected USER@HOST or HOST"
done
[[ -z ${C10K_BIN-} ]] || PATH=$C10K_BIN:$PATH
command -v c10k-lab >/dev/null || fail "there is no c10k-lab here to put results together" "C10K_BIN names its folder" 3
command -v ssh >/dev/null || fail "there is no ssh program here" "sudo apt-get install openssh-client" 3
token=$(head -n 1 "$token_file") || fail "the token cannot be read" "ls -l $token_file"
results=${results:-results/$run}
mkdir -p "$results"

# On each host: the token is the first line of stdin, and the end of stdin, which is that of the connection, ends the swarm.
# What the swarm says goes to stderr; stdout has the files of its result alone, as an archive.
# shellcheck disable=SC2016 # The shell on the host expands it.
far='
IFS= read -r C10K_TOKEN || exit 3
export C10K_TOKEN
server=$1 program=$2 shard=$3
shift 3
device=$(ip -4 -o route get "${server%%:*}" | sed -n "s/.* dev \([^ ]*\).*/\1/p")
sources=$(ip -4 -o addr show dev "$device" scope global | sed -E "s/.* inet ([0-9.]+).*/\1/" | tr "\n" , | sed "s/,$//")
folder=$(mktemp -d) || exit 3
trap "rm -rf \"$folder\"" EXIT
exec 3<&0 </dev/null
"$program" --server "$server" --ips "$sources" --shard-ips own --shard "$shard" --result "$folder" "$@" 1>&2 3<&- &
swarm=$!
(cat <&3 >/dev/null; kill -TERM "$swarm" 2>/dev/null) >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$swarm"
code=$?
kill "$watch" 2>/dev/null
tar -C "$folder" -cf - .
exit "$code"'

quoted() { printf "'%s' " "${@//\'/\'\\\'\'}"; }

# One host's shard, from its start to its result: shard K HOST FLAGS…
shard() {
  local number=$1 host=$2 code=0 input
  local part=$scratch/part-$1
  shift 2
  # This shell keeps the end that is written to: with it the host's swarm ends.
  mkfifo "$scratch/stdin-$number"
  exec {input}<>"$scratch/stdin-$number"
  printf '%s\n' "$token" >&"$input"
  ssh -T -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 "${ssh_args[@]}" \
    -- "$host" "exec sh -c $(quoted "$far" c10k-shard "$server" "$program" "$number/${#hosts[@]}" "$@")" \
    <"$scratch/stdin-$number" >"$part" 2> >(exec sed -u "s/^/$host: /" >&2 {input}>&-) {input}>&- || code=$?
  # An archive that was cut off leaves nothing: what has a name in the folder of results is whole.
  mkdir "$part.files"
  if tar -C "$part.files" -xf "$part" 2>/dev/null; then
    find "$part.files" -type f -name 'shard-*' -exec mv -t "$results" {} +
  fi
  exit "$code"
}

scratch=$(mktemp -d)
shards=()
trap 'kill "${shards[@]}" 2>/dev/null || true; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for at in "${!hosts[@]}"; do
  shard "$(( at + 1 ))" "${hosts[at]}" --run-id "$run" --rendezvous "$control" "$@" &
  shards+=("$!")
done
for at in "${!hosts[@]}"; do
  code=0
  wait "${shards[at]}" || code=$?
  (( code == 0 )) || echo "shard $(( at + 1 )) on ${hosts[at]} ended with exit code $code" >&2
done

merged=0
c10k-lab merge "${verdicts[@]}" "$results" --run-id "$run" --control "$control" --token-file "$token_file" || merged=$?
# What the merged record says counts: a shard that was lost is no reason where the run went on without it.
exit "$merged"
