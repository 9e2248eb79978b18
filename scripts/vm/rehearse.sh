#!/usr/bin/env bash
# Rehearses scripts/vm-experiment.sh without Vagrant: its machines are network namespaces with mounts of their own, made
# by a stand-in for `vagrant`. Nothing of them is left at the end, however it ends.
#
#   CLIENTS=2 scripts/vm/rehearse.sh RESULTS [FLAGS OF vm-experiment.sh]
#
# As root, or where an ordinary user may make namespaces. C10K_LAB names the binary; LONGEST_SECONDS is after how long it
# is ended [default: 900]. What is not rehearsed: the Vagrantfile itself, and scripts/vm/guest/install.sh.
set -euo pipefail
# shellcheck source=../namespaces.bash
source "$(dirname "${BASH_SOURCE[0]}")/../namespaces.bash"
# shellcheck source=guest/network.bash
source "$(dirname "${BASH_SOURCE[0]}")/guest/network.bash"
machines=/run/machines

# --- the stand-in: what `vagrant` is in there ---

# A machine named $1 with address $2, made ready as $3.
machine_up() {
  local name=$1 pid
  unshare --net --mount --propagation private sleep 1d </dev/null >/dev/null 2>&1 &
  pid=$!
  until [[ $(readlink "/proc/$pid/ns/mnt") != "$(readlink /proc/self/ns/mnt)" ]]; do
    kill -0 "$pid" 2>/dev/null || fail "the machine '$name' has not come up" "" 4
    sleep 0.05
  done
  echo "$pid" >"$machines/$name"
  ip link add "$name" type veth peer name eth0 netns "$pid"
  ip link set "$name" up master machines
  vagrant_ssh "$name" "ip link set lo up && ip addr add $2/24 dev eth0 && ip link set eth0 up
    mount -t tmpfs results /c10k/results && mount -t tmpfs shm /dev/shm && mount -t tmpfs run /run
    /c10k/scripts/vm/guest/prepare.sh $3"
}

vagrant_up() {
  local k
  mkdir -p "$machines"
  ip link add machines type bridge
  ip link set machines up
  machine_up server "$server" server
  for (( k = 1; k <= CLIENTS; k++ )); do machine_up "client-$k" "$network.$(( 10 + k ))" "client $k $CLIENTS"; done
}

# The words $2 in machine $1.
vagrant_ssh() {
  nsenter --target "$(<"$machines/$1")" --net --mount --root --wd bash -c "$2"
}

vagrant_halt() {
  local file
  for file in "$machines"/*; do kill "$(<"$file")"; done
}

stand_in() {
  case $* in
    up) vagrant_up ;;
    halt) vagrant_halt ;;
    'ssh --no-tty -c '*) vagrant_ssh "$5" "$4" ;;
    *) fail "the stand-in does not know 'vagrant $*'" "" 4 ;;
  esac
}

# --- the place in which it is rehearsed ---

# Everything of this machine is where it was, but /etc, /run, /tmp and /usr/local/bin are others, and /c10k is the
# checkout. In mount, network and process namespaces of our own.
inside() {
  local top=$1 lab=$2 results=$3 root=/mnt path
  shift 3
  mount -t tmpfs root "$root"
  for path in /*; do
    if [[ -L $path ]]; then
      cp -P "$path" "$root/"
    elif [[ $path == /@(bin|dev|lib|lib64|proc|sbin|sys|usr) ]]; then
      mkdir "$root$path"
      mount --rbind "$path" "$root$path"
    fi
  done
  mkdir -p "$root"/{c10k,fetched,run,tmp,etc/c10k}
  cp -r /etc/{alternatives,passwd,group,hosts,ld.so.cache} "$root/etc/"
  mount --bind "$top" "$root/c10k"
  mount --bind "$results" "$root/fetched"
  mount -t tmpfs bin "$root/usr/local/bin"
  cp "$lab" "$root/usr/local/bin/c10k-lab"
  # shellcheck disable=SC2016
  printf '#!/bin/sh\nexec "$@"\n' >"$root/usr/local/bin/sudo"
  # shellcheck disable=SC2016
  printf '#!/bin/sh\nexec /c10k/scripts/vm/rehearse.sh --stand-in "$@"\n' >"$root/usr/local/bin/vagrant"
  chmod +x "$root"/usr/local/bin/*
  head -c 24 /dev/urandom | base64 >"$root/etc/c10k/token"
  ip link set lo up
  # Nothing is built in there.
  BUILD=vm exec chroot "$root" /c10k/scripts/vm-experiment.sh --results /fetched "$@"
}

case ${1-} in
  --stand-in)
    shift
    stand_in "$@"
    ;;
  --inside)
    shift
    inside "$@"
    ;;
  '' | -*) fail "the folder for results is not named" "scripts/vm/rehearse.sh results --target 500 --sweep ''" ;;
  *)
    export CLIENTS=${CLIENTS:-2}
    top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    lab=${C10K_LAB:-$top/target/release/c10k-lab}
    [[ -x $lab ]] || fail "'$lab' is no program" "C10K_LAB names c10k-lab" 3
    mkdir -p "$1"
    user=()
    (( $(id -u) == 0 )) || user=(--user --map-root-user)
    for command in unshare nsenter setpriv ip; do
      command -v "$command" >/dev/null || fail "there is no '$command' command" "sudo apt-get install iproute2 util-linux" 3
    done
    run_in_namespaces "${LONGEST_SECONDS:-900}" "${user[@]}" --net --mount --propagation private -- \
      "$0" --inside "$top" "$(realpath "$lab")" "$(realpath "$1")" "${@:2}"
    ;;
esac
