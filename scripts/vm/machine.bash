# What the scripts of this folder have in common: their options, and a virtual machine's way from start to end. Sourced
# by them; not a program of its own.
#
# A machine is a folder below $work: job/ goes into it (job.sh and settings), out.img comes out of it as a tar archive,
# console is what it printed. It ends by itself when its job is over, after $seconds, or with the script.
# shellcheck shell=bash
# shellcheck source=../fail.bash
source "$(dirname "${BASH_SOURCE[0]}")/../fail.bash"

# Where Debian has mke2fs and ip: an ordinary user's PATH does not name it.
PATH=$PATH:/usr/sbin:/sbin
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
vm=$top/target/vm
memory_mib=2400 cpus=2 seconds=600 results=$top/results
declare -A machines=()

need() {
  command -v "$1" >/dev/null || fail "there is no '$1' command" "sudo apt-get install $2" 3
}

# What busybox is here has these: Debian builds several.
need_applets() {
  local all applet
  all=" $(busybox --list | tr '\n' ' ')"
  for applet; do
    [[ $all == *" $applet "* ]] || fail "this busybox has no '$applet'" "sudo apt-get install busybox-static" 3
  done
}

# A whole number of the option $1: $2, at least $3 and at most $4.
check_number() {
  if [[ ! $2 =~ ^[1-9][0-9]{0,6}$ ]] || (( $2 < $3 || $2 > $4 )); then
    fail "$1 is '$2': expected a whole number from $3 to $4"
  fi
}

# What every script takes. Sets memory_mib, cpus, seconds, results; what is left stands in `words`. With $1 "anywhere"
# options may stand among other words, with "first" they end at the first that is none; after -- there are none.
read_options() {
  local where=$1
  shift
  words=()
  while (( $# > 0 )); do
    case $1 in
      --memory | --cpus | --time | --results)
        (( $# > 1 )) || fail "$1 needs a value" "${0##*/} --help"
        case $1 in
          --memory)
            check_number "$1" "$2" 256 1000000
            memory_mib=$2
            ;;
          --cpus)
            check_number "$1" "$2" 1 64
            cpus=$2
            ;;
          --time)
            check_number "$1" "$2" 10 86400
            seconds=$2
            ;;
          --results) results=$2 ;;
        esac
        shift 2
        ;;
      -h | --help)
        usage
        exit 0
        ;;
      --)
        shift
        words+=("$@")
        return
        ;;
      *)
        if [[ $where == first ]]; then
          words=("$@")
          return
        fi
        words+=("$1")
        shift
        ;;
    esac
  done
}

# The text for --help of the options above.
usage_of_options() {
  cat <<TEXT
  --memory MIB     of each machine                            [default: $memory_mib]
  --cpus N         of each machine                            [default: $cpus]
  --time SECONDS   after which a machine is ended             [default: $seconds]
  --results DIR    where the folder of a run goes             [default: results]

C10K_LAB names the binary that runs in there [default: target/release/c10k-lab, built if need be], C10K_VM_ACCEL kvm or
tcg [default: kvm where a machine comes up under it].
TEXT
}

# Runs a command for at most so many seconds, and no longer than the script: bounded SECONDS COMMAND…. In the background,
# since a shell hears a signal only after a command in the foreground.
bounded() {
  local seconds=$1 code=0
  shift
  setpriv --pdeathsig TERM timeout --kill-after=10 "$seconds" "$@" </dev/null &
  wait "$!" || code=$?
  (( code != 124 && code != 137 )) || fail "'$*' was not over after $seconds s, and was ended" "" 3
  return "$code"
}

# Makes everything ready: the programs that are needed, the folder for the machines, the kernel, the base of the
# initramfs, the way they are run. From here on the script's end is theirs.
prepare() {
  need qemu-system-x86_64 qemu-system-x86
  need setpriv util-linux
  need cpio cpio
  need tar tar
  mkdir -p "$results" || fail "the folder for results, '$results', cannot be made" "--results DIR" 3
  work=$(mktemp -d "${TMPDIR:-/tmp}/c10k-vm.XXXXXX")
  trap end_machines EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  # With the longest of names below it.
  (( ${#work} <= 90 )) ||
    fail "the path of a unix socket in '$work' has more than the 107 bytes that there are (unix(7))" "TMPDIR=/tmp" 3
  bounded 1500 "$top/scripts/vm/kernel.sh" >"$work/kernel"
  kernel=$(<"$work/kernel")
  # Of these machines alone: another script may be at work with another binary.
  base=$work/base.cpio
  # It may build the program.
  bounded 3600 "$top/scripts/vm/initramfs.sh" "$base" >/dev/null
  choose_accelerator
}

# Whatever happens: no machine and no folder stays.
end_machines() {
  local name
  for name in "${!machines[@]}"; do kill -TERM "${machines[$name]}" 2>/dev/null || true; done
  for name in "${!machines[@]}"; do wait "${machines[$name]}" 2>/dev/null || true; done
  rm -rf "$work"
}

# Sets `accelerator` to qemu's arguments. That /dev/kvm opens does not show that a guest comes up under it: one is
# tried, for a short time, once in each boot of this machine.
choose_accelerator() {
  local chosen=${C10K_VM_ACCEL-} kept=$vm/accelerator boot
  boot=$(</proc/sys/kernel/random/boot_id)
  if [[ -n $chosen ]]; then
    set_accelerator "$chosen"
    return
  fi
  chosen=tcg
  # What another user found does not count for one who may not open it.
  if [[ -r /dev/kvm && -w /dev/kvm ]]; then
    case $(cat "$kept" 2>/dev/null) in
      "$boot kvm") chosen=kvm ;;
      "$boot tcg") ;;
      *)
        if comes_up_under_kvm 2>/dev/null; then chosen=kvm; fi
        # Whole or not at all, since others may read it meanwhile; where it cannot be kept it is tried again.
        { echo "$boot $chosen" >"$work/accelerator" && mv -f "$work/accelerator" "$kept"; } 2>/dev/null || true
        ;;
    esac
  fi
  set_accelerator "$chosen"
}

set_accelerator() {
  case $1 in
    kvm) accelerator=(-accel kvm -cpu host) ;;
    tcg) accelerator=(-accel "tcg,thread=multi" -cpu max) ;;
    *) fail "C10K_VM_ACCEL is '$1': expected kvm or tcg" ;;
  esac
  # Told by the scripts.
  # shellcheck disable=SC2034
  accelerated_by=$1
}

comes_up_under_kvm() {
  local given=$seconds code=1
  set_accelerator kvm
  job try <<<'true'
  seconds=20
  start_machine try
  if await_machine try && unpack_machine try; then code=$exit_code; fi
  seconds=$given
  return "$code"
}

# Lays out the folder of machine $1: the job is read from stdin, settings (NAME=VALUE) are the other arguments.
job() {
  local folder=$work/$1
  mkdir -p "$folder/job"
  { echo 'set -euo pipefail'; cat; } >"$folder/job/job.sh"
  printf '%s\n' "NAME=$1" "${@:2}" >"$folder/job/settings"
}

# Starts machine $1 with more of qemu's arguments. A reset is its end: another start is its next. no_timer_check: an
# emulated timer on a busy machine fails that check, which ends in a panic.
start_machine() {
  local name=$1 folder=$work/$1
  (cd "$folder" && find job | cpio --quiet -o -H newc -R 0:0) >"$folder/job.cpio"
  # An initramfs may be several archives, one after the other.
  cat "$base" "$folder/job.cpio" >"$folder/initrd"
  truncate -s 1G "$folder/out.img"
  setpriv --pdeathsig TERM timeout --kill-after=10 "$seconds" \
    qemu-system-x86_64 -name "c10k-$name" -nodefaults -display none -serial "file:$folder/console" \
    "${accelerator[@]}" -smp "$cpus" -m "$memory_mib" \
    -kernel "$kernel/vmlinuz" -initrd "$folder/initrd" \
    -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check" -no-reboot \
    -drive "if=none,id=out,format=raw,file=$folder/out.img" -device virtio-blk-pci,drive=out \
    "${@:2}" </dev/null >"$folder/qemu" 2>&1 &
  machines[$name]=$!
}

# qemu's arguments for a link between two machines, one datagram a frame over unix sockets: $1 this end, $2 the other,
# $3 the number of this end on the network, $4 its number in this machine.
link() {
  printf '%s\n' -netdev \
    "dgram,id=link$4,local.type=unix,local.path=$work/$1.link,remote.type=unix,remote.path=$work/$2.link" \
    -device "virtio-net-pci,netdev=link$4,romfile=,mac=52:54:00:c1:0c:$(printf %02x "$3")"
}

# Starts the path $1, which leads to the link $2 and loses $3 percent of the SYNs to port $4. It ends with the script.
lose_syns() {
  need python3 python3
  setpriv --pdeathsig TERM timeout --kill-after=10 "$seconds" \
    "$top/scripts/vm/lossy.py" "$work/$1.link" "$work/$2.link" "$3" "$4" </dev/null >"$work/$1.said" 2>&1 &
  machines[$1]=$!
}

# Waits until machine $1 is off; false when it had to be ended.
await_machine() {
  local code=0
  wait "${machines[$1]}" || code=$?
  unset "machines[$1]"
  (( code == 0 ))
}

# Waits at most $2 seconds until machine $1 is off, and sets exit_code to that of its job, or ends the script. When
# machine $3, which it needs, is off, it has 15 s more.
finish_machine() {
  local end=$(( SECONDS + $2 )) needed=${3-}
  while kill -0 "${machines[$1]}" 2>/dev/null; do
    if [[ -n $needed ]] && ! kill -0 "${machines[$needed]}" 2>/dev/null; then
      end=$(( SECONDS + 15 ))
      needed=
    fi
    if (( SECONDS >= end )); then
      [[ -z ${3-} || -n $needed ]] || broke "$3" "was off before '$1'"
      kill -TERM "${machines[$1]}"
      break
    fi
    sleep 0.2
  done
  await_machine "$1" || broke "$1" "was ended after $2 s, or qemu failed" "--time SECONDS gives it longer"
  unpack_machine "$1" || broke "$1" "left no exit code"
}

# Unpacks what machine $1 left into out/ of its folder, and sets exit_code to that of its job; false where there is none.
unpack_machine() {
  local folder=$work/$1
  mkdir -p "$folder/out"
  tar -xf "$folder/out.img" -C "$folder/out" 2>/dev/null && [[ -s $folder/out/exit-code ]] || return 1
  exit_code=$(<"$folder/out/exit-code")
}

# Ends the script where machine $1 did not come to its end: $2 says how.
broke() {
  echo "the end of what the machines printed:" >&2
  tail -n 30 "$work"/*/qemu "$work"/*/console >&2 || true
  fail "the machine '$1' $2" "${3-}" 4
}

# Moves the folders of runs out of machine $1 to $results and prints each path on stderr.
keep_results() {
  local folder name
  for folder in "$work/$1"/out/results/*/; do
    [[ -d $folder ]] || continue
    name=$(basename "$folder")
    [[ ! -e $results/$name ]] || fail "there is a '$results/$name' already" "--results DIR" 3
    cp -r "$folder" "$results/$name"
    echo "$results/$name" >&2
  done
}
