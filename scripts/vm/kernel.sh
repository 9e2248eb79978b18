#!/usr/bin/env bash
# Fetches Debian's kernel for virtual machines and unpacks it below target/vm: nothing is installed. What is there
# already is kept.
#
#   scripts/vm/kernel.sh        prints the folder: vmlinuz, modules/ and version
#
# Needs apt-get and dpkg on an amd64 machine, and the network the first time. Exit code 3 where the kernel cannot be
# fetched.
set -euo pipefail
# shellcheck source=machine.bash
source "$(dirname "${BASH_SOURCE[0]}")/machine.bash"

folder=$vm/kernel

# Ends the script where the kernel is there.
print_if_there() {
  [[ -f $folder/version ]] || return 0
  echo "$folder"
  exit 0
}

print_if_there
need apt-get apt
need dpkg dpkg
need busybox busybox-static
need flock util-linux
need_applets depmod unxz
architecture=$(dpkg --print-architecture)
[[ $architecture == amd64 ]] || fail "this machine is $architecture, and the virtual machines here are amd64" "" 3

# The package that the newest kernel for virtual machines stands in, such as linux-image-6.1.0-57-cloud-amd64.
newest() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }'
}

# Into the present folder. As root apt-get would fetch as another user, who cannot write here.
fetch() {
  local package
  package=$(newest)
  [[ -n $package ]] && bounded 200 apt-get download -q -o APT::Sandbox::User=root "$package" >&2
}

mkdir -p "$vm"
# One at a time, and who waited finds it there.
exec {lock}>"$vm/lock"
flock --wait 600 "$lock" || fail "another script has been fetching the kernel for 600 s" "fuser $vm/lock" 3
print_if_there
# Of scripts that were killed.
rm -rf "$vm"/kernel.??????
scratch=$(mktemp -d "$vm/kernel.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd "$scratch"
# The lists of packages may be missing, or name a version that is gone.
renew_and_fetch() { (( $(id -u) == 0 )) && bounded 200 apt-get update -q >&2 && fetch; }
if ! fetch && ! renew_and_fetch; then
  fail "linux-image-cloud-amd64 could not be fetched" "sudo apt-get update, with the network there, and again" 3
fi
dpkg -x ./*.deb unpacked
# Newer packages have them below usr.
tree=$(find unpacked -path '*/lib/modules/*' -prune -type d)
version=$(basename "$tree")
mkdir kernel
cp "unpacked/boot/vmlinuz-$version" kernel/vmlinuz
# The layout in which depmod and modprobe look for them.
mkdir -p kernel/modules/lib/modules
mv "$tree" kernel/modules/lib/modules/
# Those of newer packages are compressed.
find kernel/modules -name '*.ko.xz' -exec busybox unxz {} +
busybox depmod -b "$PWD/kernel/modules" "$version"
echo "$version" >kernel/version
rm -rf "$folder"
mv kernel "$folder"
echo "$folder"
