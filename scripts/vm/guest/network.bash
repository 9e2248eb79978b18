# What the scripts in a virtual machine have in common: the addresses of the private network. Sourced by them; not a
# program of its own.
#
# The server is 192.168.1.10, client K of N is 192.168.1.(10+K) and connects from its share of 192.168.1.200 to 230.
# shellcheck shell=bash
# shellcheck source=../../fail.bash
source "$(dirname "${BASH_SOURCE[0]}")/../../fail.bash"

network=192.168.1
server=$network.10
# Used by the scripts that source this.
# shellcheck disable=SC2034
listen=$server:9000 control=$server:9900 token=/etc/c10k/token

# The last bytes FIRST-LAST of client $1 of $2.
share() {
  echo "$(( 200 + 31 * ($1 - 1) / $2 ))-$(( 199 + 31 * $1 / $2 ))"
}

# Ends the script unless $1 and $2 are client K of N.
check_client() {
  if [[ ! "${1-} ${2-}" =~ ^[1-9][0-9]?\ [1-9][0-9]?$ ]] || (( $1 > $2 || $2 > 31 )); then
    fail "'${1-} ${2-}' is not client K of N" "1 2 is the first of two; there are 31 addresses, so at most 31 clients"
  fi
}

# Waits until the server's control port answers, at most 120 seconds.
await_control() {
  local end=$(( SECONDS + 120 ))
  until control_answers 2>/dev/null; do
    (( SECONDS < end )) || return 1
    sleep 0.5
  done
}

control_answers() {
  # shellcheck disable=SC2016
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"; printf "GET /healthz HTTP/1.0\r\n\r\n" >&3; read -r line <&3
    [[ $line == HTTP/*\ 200\ * ]]' "" "$server" "${control##*:}"
}
