#!/usr/bin/env bash
# Instructions of the wire's hot paths, each counted by callgrind as the difference of two runs of different length,
# so that what happens once drops out. Needs valgrind. Unlike times, these numbers hardly depend on the machine or
# on what else it does.
#
#   scripts/bench-wire.sh              all cases, one line each: name, instructions
#   scripts/bench-wire.sh echo-ours    these cases only
#   scripts/bench-wire.sh --check      fails if an echo or a handshake costs more than it may
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What CI lets pass: what was measured, and a tenth on top.
declare -A most=([echo-ours]=330 [handshake-ours]=10000)

check=
if [[ ${1-} == --check ]]; then
  check=yes
  shift
  set -- "${!most[@]}"
elif (($# == 0)); then
  set -- echo-ours echo-ours-16-at-once echo-stock echo-stock-4k handshake-ours handshake-both-ours \
    mask-1k-words mask-1k-bytes
fi

command -v valgrind >/dev/null || { echo "bench-wire: valgrind is needed (apt install valgrind)" >&2; exit 3; }
cargo build --quiet --release -p c10k-wire --example wire_cost
program=${CARGO_TARGET_DIR:-target}/release/examples/wire_cost
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Instructions of a run of case $1 with $2 rounds.
instructions() {
  valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$program" "$1" "$2" >"$scratch/log" 2>&1
  awk '/^summary:/ { print $2 }' "$scratch/out"
}

few=1600
many=9600
status=0
for name; do
  before=$(instructions "$name" "$few")
  after=$(instructions "$name" "$many")
  each=$(((after - before) / (many - few)))
  printf '%-22s %8d\n' "$name" "$each"
  if [[ -n $check ]] && ((each > most[$name])); then
    echo "bench-wire: $name costs $each instructions, more than ${most[$name]}" >&2
    status=1
  fi
done
exit "$status"
