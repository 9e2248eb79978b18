#!/usr/bin/env bash
# Removes the diary's source addresses, 192.168.1.200 to 192.168.1.230, from a device; see --help.
#
# Exactly the /32 addresses that aliases-add.sh adds are removed. An address of the range that stands there with
# another prefix length is the device's own: it is left alone and told of.
set -euo pipefail
# shellcheck source=aliases.bash
source "$(dirname "${BASH_SOURCE[0]}")/aliases.bash"

read_arguments "Removes" "$@"
present=$(present_addresses)
removed=0 absent=0
for (( byte = first; byte <= last; byte++ )); do
  address=$prefix.$byte
  if grep -qx "${address//./\\.}/32" <<<"$present"; then
    carry_out ip addr del "$address/32" dev "$device"
    removed=$(( removed + 1 ))
  elif grep -q "^${address//./\\.}/" <<<"$present"; then
    echo "$address stands there as $(grep "^${address//./\\.}/" <<<"$present"): left alone" >&2
  else
    absent=$(( absent + 1 ))
  fi
done
$dry_run && verb="would be removed" || verb="removed"
echo "$device: $removed of $prefix.$first-$last $verb, $absent not there" >&2
