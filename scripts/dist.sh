#!/usr/bin/env bash
# Makes dist/c10k-lab-VERSION-ARCH.tar.gz: the binary with links by which it is server, swarm and collector, man pages,
# completions, profiles, licences, and checksums of all of it. The same sources and toolchain give the same bytes.
#
#   scripts/dist.sh [--check]     --check builds twice, in two folders, and compares
#
# Needs cargo, GNU tar and gzip. Folders are taken from CARGO_TARGET_DIR, else target/dist.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source-path=SCRIPTDIR source=fail.bash
source scripts/fail.bash
[[ $# -eq 0 || ($# -eq 1 && $1 == --check) ]] || fail "'$*' is not known: expected nothing or --check" "scripts/dist.sh --check"
command -v cargo >/dev/null || fail "there is no 'cargo' command" "https://rustup.rs installs it" 3
top=$PWD
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=c10k-lab-$version-$(uname -m)
# Every file has the time of the last commit, or none where there is no repository.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
first=${CARGO_TARGET_DIR:-target/dist}
[[ $first == /* ]] || first=$top/$first
mkdir -p "$first"
# Beside the first one: /tmp may be small, in memory, or a place in which nothing may be executed, as build scripts are.
scratch=$(mktemp -d "$first.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

build() {
  local target=$1 flags
  # Paths of this machine are in no message of a panic. Of several that fit, the last one counts. With the byte 1f between
  # them (CARGO_ENCODED_RUSTFLAGS) a path may have blanks.
  printf -v flags '%s\x1f' "--remap-path-prefix=$top=." "--remap-path-prefix=$target=target" \
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
  CARGO_ENCODED_RUSTFLAGS=${flags%$'\x1f'} CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$target SOURCE_DATE_EPOCH=$epoch \
    cargo build --release --locked --package c10k-lab --bin c10k-lab
}

pack() {
  local target=$1 out=$2 folder link shell
  folder=$(mktemp -d "$scratch/pack.XXXXXX")
  mkdir -p "$folder/$name"/{bin,man/man1,completions,profiles/sweeps}
  install -m 755 "$target/release/c10k-lab" "$folder/$name/bin/"
  for link in c10k-server c10k-swarm c10k-collector; do ln -s c10k-lab "$folder/$name/bin/$link"; done
  "$target/release/c10k-lab" man "$folder/$name/man/man1" 2>"$folder/said" || fail "no man pages: $(<"$folder/said")" "" 1
  for shell in bash zsh fish; do
    "$target/release/c10k-lab" completions "$shell" >"$folder/$name/completions/c10k-lab.$shell"
  done
  install -m 644 profiles/*.toml "$folder/$name/profiles/"
  install -m 644 profiles/sweeps/*.toml "$folder/$name/profiles/sweeps/"
  install -m 644 LICENSE-MIT LICENSE-APACHE README.md CHANGELOG.md "$folder/$name/"
  (cd "$folder/$name" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >"$folder/sums")
  mv "$folder/sums" "$folder/$name/SHA256SUMS"
  mkdir -p "$(dirname "$out")"
  tar --create --directory "$folder" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX --mtime="@$epoch" "$name" | gzip -n -9 >"$out"
  rm -r "$folder"
}

check_size() {
  local bytes
  bytes=$(stat -c %s "$1/release/c10k-lab")
  (( bytes < 12 * 1000 * 1000 )) || fail "the binary has $bytes bytes: expected fewer than 12,000,000" "" 1
}

build "$first"
check_size "$first"
pack "$first" "dist/$name.tar.gz"
if [[ ${1-} == --check ]]; then
  build "$scratch/again"
  pack "$scratch/again" "$scratch/$name.tar.gz"
  cmp "dist/$name.tar.gz" "$scratch/$name.tar.gz" || fail "two builds gave different bytes" "" 1
  echo "two builds gave the same bytes"
fi
sha256sum "dist/$name.tar.gz"
