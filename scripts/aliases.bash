# What aliases-add.sh and aliases-remove.sh have in common: their arguments, and what stands on the device.
# Sourced by both; not a program of its own.
# shellcheck shell=bash
# shellcheck source=fail.bash
source "$(dirname "${BASH_SOURCE[0]}")/fail.bash"

usage() {
  local program=${0##*/} action=$1
  cat <<TEXT
usage: $program [--dry-run] DEV [FIRST-LAST] [PREFIX]

$action the source addresses PREFIX.FIRST to PREFIX.LAST, each as /32, on device DEV.

  DEV         the device, such as eth1, or lo when both ends are on this machine
  FIRST-LAST  the last byte of the first and of the last address   [default: 200-230]
  PREFIX      the three bytes before                               [default: 192.168.1]
  --dry-run   print the commands and change nothing; needs no root

The devices of this machine: $(devices)
TEXT
}

# Of this network namespace: /sys/class/net may show those of another one.
devices() {
  ip -o link show | awk -F': ' '{ sub(/@.*/, "", $2); printf "%s%s", separator, $2; separator = " " }'
}

is_byte() {
  [[ $1 =~ ^(0|[1-9][0-9]{0,2})$ ]] && (( $1 <= 255 ))
}

# Sets dry_run, device, first, last and prefix, or ends the script: 2 for bad text, 3 where this host cannot.
read_arguments() {
  local action=$1 part words=()
  shift
  command -v ip >/dev/null || fail "there is no 'ip' command" "sudo apt-get install iproute2" 3
  dry_run=false
  for part in "$@"; do
    case $part in
      --dry-run) dry_run=true ;;
      -h | --help)
        usage "$action"
        exit 0
        ;;
      -*) fail "'$part' is not known" "${0##*/} --help" ;;
      *) words+=("$part") ;;
    esac
  done
  (( ${#words[@]} <= 3 )) || fail "'${words[3]}' is one argument too many" "${0##*/} --help"
  if (( ${#words[@]} == 0 )); then
    fail "no device is named, and none is guessed" "name one of: $(devices), as in: ${0##*/} lo"
  fi
  device=${words[0]}
  local range=${words[1]:-200-230}
  prefix=${words[2]:-192.168.1}
  first=${range%%-*}
  last=${range#*-}
  if [[ $range != *-* ]] || ! is_byte "$first" || ! is_byte "$last"; then
    fail "'$range' is not a range of last bytes" "as in: ${0##*/} $device 200-230"
  fi
  (( first <= last )) || fail "the range '$range' is reversed" "did you mean $last-$first?"
  local a b c rest
  IFS=. read -r a b c rest <<<"$prefix"
  if [[ -n $rest ]] || ! is_byte "$a" || ! is_byte "$b" || ! is_byte "$c"; then
    fail "'$prefix' is not the first three bytes of an address" "as in: ${0##*/} $device $range 192.168.1"
  fi
  ip link show dev "$device" >/dev/null 2>&1 ||
    fail "there is no device '$device'" "the devices here: $(devices)" 3
  if ! $dry_run && (( $(id -u) != 0 )); then
    fail "changing addresses needs root" "sudo $0 $*, or add --dry-run to see the commands" 3
  fi
}

# The IPv4 addresses on the device, each with its prefix length.
present_addresses() {
  ip -4 -o addr show dev "$device" | awk '{ print $4 }'
}

# Runs a command, or only prints it.
carry_out() {
  if $dry_run; then echo "$*"; else "$@"; fi
}
