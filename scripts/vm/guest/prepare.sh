#!/usr/bin/env bash
# Makes a virtual machine ready, at each of its starts, as root:
#
#   prepare.sh server
#   prepare.sh client K N      client K of N: adds its share of 192.168.1.200 to 230 to the device of that network
#
# Expects c10k-lab in /usr/local/bin, which is server, swarm and collector by the names of its links, and the token of
# the control port in /etc/c10k/token.
set -euo pipefail
# shellcheck source=network.bash
source "$(dirname "${BASH_SOURCE[0]}")/network.bash"
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

command -v c10k-lab >/dev/null || fail "there is no c10k-lab in this machine" "/usr/local/bin is where it belongs" 3
for name in c10k-server c10k-swarm c10k-collector; do ln -sf c10k-lab "/usr/local/bin/$name"; done
[[ -s $token ]] || fail "there is no token in $token" "16 or more printable bytes, the same in all machines" 3
chmod 600 "$token"
case ${1-} in
  server) ;;
  client)
    check_client "${2-}" "${3-}"
    device=$(ip -4 -o addr show to "$network.0/24" | awk '$4 !~ /\/32$/ { print $2; exit }')
    [[ -n $device ]] || fail "no device of this machine is on $network.0/24" "ip addr" 3
    "$scripts/aliases-add.sh" "$device" "$(share "$2" "$3")" "$network"
    ;;
  *) fail "'${1-}' is not known: expected server or client" "prepare.sh client 1 2" ;;
esac
