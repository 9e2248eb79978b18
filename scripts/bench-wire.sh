#!/usr/bin/env bash
# Instructions of the wire's hot paths, each counted by callgrind as the difference of two runs of different length,
# so that what happens once drops out. Needs valgrind. Unlike times, these numbers hardly depend on the machine or
# on what else it does.
#
#   scripts/bench-wire.sh              all cases, one line each: name, instructions
#   scripts/bench-wire.sh echo-ours    these cases only
#   scripts/bench-wire.sh --check      ours beside stock tungstenite; fails if an echo or a handshake costs more than it
#                                      may, in instructions or as a share of stock's
#   scripts/bench-wire.sh --time       the same cases by the clock, ns each: for a quiet machine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What CI lets pass, instructions: what was measured, and a tenth on top.
declare -A most=([echo-ours]=330 [handshake-ours]=10000)
# And percent of what stock tungstenite takes for the same: with its buffer of 128 KiB as it comes, which it fills with
# zeros in front of every read, and with one of 4 KiB.
declare -A ours_of=([echo-stock]=echo-ours [echo-stock-4k]=echo-ours [handshake-stock]=handshake-ours)
declare -A most_percent=([echo-stock]=2 [echo-stock-4k]=15 [handshake-stock]=60)
all=(echo-ours echo-ours-16-at-once echo-stock echo-stock-4k handshake-ours handshake-stock handshake-both-ours
  mask-1k-words mask-1k-bytes)

build() {
  cargo build --quiet --release -p c10k-wire --example wire_cost
  program=${CARGO_TARGET_DIR:-target}/release/examples/wire_cost
}

check=
case ${1-} in
  --time)
    build
    exec "$program"
    ;;
  --check)
    check=yes
    set -- echo-ours echo-stock echo-stock-4k handshake-ours handshake-stock
    ;;
  '') set -- "${all[@]}" ;;
esac

command -v valgrind >/dev/null || { echo "bench-wire: valgrind is needed (apt install valgrind)" >&2; exit 3; }
build
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Instructions of a run of case $1 with $2 rounds.
instructions() {
  valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$program" "$1" "$2" >"$scratch/log" 2>&1
  awk '/^summary:/ { print $2 }' "$scratch/out"
}

few=1600
many=9600
declare -A each
for name; do
  before=$(instructions "$name" "$few")
  after=$(instructions "$name" "$many")
  each[$name]=$(((after - before) / (many - few)))
  [[ -n $check ]] || printf '%-22s %8d\n' "$name" "${each[$name]}"
done
[[ -n $check ]] || exit 0

status=0
too_much() { echo "bench-wire: $*" >&2; status=1; }
printf '%-16s %8s %8s %8s %8s\n' 'beside' stock ours '% of it' 'at most'
for stock in echo-stock echo-stock-4k handshake-stock; do
  ours=${each[${ours_of[$stock]}]}
  # Upwards.
  percent=$(((100 * ours + each[$stock] - 1) / each[$stock]))
  printf '%-16s %8d %8d %8d %8d\n' "$stock" "${each[$stock]}" "$ours" "$percent" "${most_percent[$stock]}"
  ((percent <= most_percent[$stock])) || too_much "$percent % of $stock, more than ${most_percent[$stock]} %"
done
for name in "${!most[@]}"; do
  ((each[$name] <= most[$name])) || too_much "$name costs ${each[$name]} instructions, more than ${most[$name]}"
done
exit "$status"
