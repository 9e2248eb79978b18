#!/usr/bin/env bash
# Adds the diary's source addresses, 192.168.1.200 to 192.168.1.230, to a device; see --help.
#
# Each address is added as /32: on `lo` a /24 would make the whole network local, and on an Ethernet device the
# route to the network stands already with the device's own address. What is there already is left alone, so the
# script may be run again. Nothing survives a reboot.
set -euo pipefail
# shellcheck source=aliases.bash
source "$(dirname "${BASH_SOURCE[0]}")/aliases.bash"

read_arguments "Adds" "$@"
present=$(present_addresses)
added=0 there=0
for (( byte = first; byte <= last; byte++ )); do
  address=$prefix.$byte
  if grep -q "^${address//./\\.}/" <<<"$present"; then
    there=$(( there + 1 ))
  else
    carry_out ip addr add "$address/32" dev "$device"
    added=$(( added + 1 ))
  fi
done
$dry_run && verb="would be added" || verb="added"
echo "$device: $added of $prefix.$first-$last $verb, $there there already" >&2
