#!/usr/bin/env bash
# Makes the root file system of the virtual machines, a cpio archive: busybox, bash, ip, our programs with the
# libraries that they name, the modules of the kernel that they need, and the scripts that run in there.
#
#   scripts/vm/initramfs.sh [FILE]     prints the file  [default: target/vm/base.cpio]
#
# C10K_LAB names the binary [default: target/release/c10k-lab, built if need be]. Needs busybox-static, bash, iproute2,
# cpio, binutils.
set -euo pipefail
# shellcheck source=machine.bash
source "$(dirname "${BASH_SOURCE[0]}")/machine.bash"

# With what each needs beside it: PCI, network, disk, what `ss` and sock_diag read, links, tunnels, bridges, a firewall.
modules=(
  virtio_pci virtio_net virtio_blk ext4 inet_diag tcp_diag veth tun bridge
  nf_tables nft_ct nft_limit nft_reject_inet sch_fq sch_netem
)

file=${1:-$vm/base.cpio}
need busybox busybox-static
# Of scripts/vm/init, scripts/vm/guest and the jobs.
need_applets awk cat chmod dirname dmesg env find grep hostname id ln mkdir mkfifo modprobe mount nc poweroff rm setsid sh \
  sleep sync tar tee timeout
need bash bash
need ip iproute2
need cpio cpio
need strip binutils
kernel=$("$top/scripts/vm/kernel.sh")
version=$(<"$kernel/version")
lab=${C10K_LAB-}
if [[ -z $lab ]]; then
  (cd "$top" && cargo build --release --quiet --locked --bin c10k-lab)
  lab=$(cd "$top" && cargo metadata --format-version 1 --no-deps |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/c10k-lab
fi
[[ -x $lab ]] || fail "'$lab' is no program" "C10K_LAB names c10k-lab" 3

mkdir -p "$(dirname "$file")"
root=$(mktemp -d "$file.XXXXXX")
trap 'rm -rf "$root" "$root.cpio"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A program of this machine to a place there, with its libraries, of which a static one has none.
add_program() {
  local library
  install -D "$1" "$root$2"
  { ldd "$1" 2>/dev/null || true; } | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    install -D "$library" "$root$library"
  done
}

mkdir -p "$root"/{bin,sbin,usr/bin,dev,proc,sys,run,tmp,out,etc/c10k,c10k}
add_program "$(command -v busybox)" /bin/busybox
# The paths that are written down in scripts and in the kernel.
ln -s /bin/busybox "$root/usr/bin/env"
ln -s /bin/busybox "$root/sbin/modprobe"
add_program "$(command -v bash)" /usr/bin/bash
add_program "$(command -v ip)" /usr/sbin/ip
add_program "$lab" /usr/local/bin/c10k-lab
strip "$root/usr/local/bin/c10k-lab"
install "$top/scripts/vm/init" "$root/init"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
# The checkout, as far as it is used in there.
mkdir -p "$root/c10k/scripts/vm"
cp "$top"/scripts/{aliases*,fail.bash} "$root/c10k/scripts/"
cp -r "$top/scripts/vm/guest" "$root/c10k/scripts/vm/"
cp -r "$top/profiles" "$root/c10k/"

# Each module and those that it needs: lines `PATH: PATH PATH…` of modules.dep, lines `PATH` of modules.builtin.
tree=lib/modules/$version
mkdir -p "$root/$tree"
cp "$kernel/modules/$tree"/modules.* "$root/$tree/"
printf '%s\n' "${modules[@]}" | awk '
  FILENAME != "-" {
    name = path = $1
    sub(/:$/, "", path); sub(/.*\//, "", name); sub(/\.ko:?$/, "", name); gsub(/-/, "_", name)
    $1 = ""; needs[path] = $0
    # What is built in needs no file.
    path_of[name] = FILENAME ~ /builtin$/ ? "" : path
    next
  }
  function take(path,   list, count, i) {
    if (path == "" || path in taken) return
    taken[path] = 1; print path
    count = split(needs[path], list, " ")
    for (i = 1; i <= count; i++) take(list[i])
  }
  $1 in path_of { take(path_of[$1]); next }
  { print "error: this kernel has no module " $1 >"/dev/stderr"; exit 3 }
' "$kernel/modules/$tree"/modules.{builtin,dep} - | while read -r module; do
  install -D -m 644 "$kernel/modules/$tree/$module" "$root/$tree/$module"
done
printf '%s\n' "${modules[@]}" >"$root/etc/modules"

(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$root.cpio"
mv "$root.cpio" "$file"
echo "$file"
