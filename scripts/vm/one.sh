#!/usr/bin/env bash
# Runs a command of ours in one virtual machine; see --help.
set -euo pipefail
# shellcheck source=machine.bash
source "$(dirname "${BASH_SOURCE[0]}")/machine.bash"

usage() {
  cat <<TEXT
usage: scripts/vm/one.sh [OPTIONS] [--] COMMAND…

Runs a command of c10k-lab, or c10k-server, c10k-swarm or c10k-collector with arguments, as root in a virtual machine
with Debian's kernel for such. Its stdout, stderr and exit code are the command's, and the folders of its runs come
out. Needs no root and no image.

  scripts/vm/one.sh run 10k
  scripts/vm/one.sh run 5k --topology veth
  scripts/vm/one.sh doctor 100k

$(usage_of_options)
TEXT
}

read_options first "$@"
(( ${#words[@]} > 0 )) || fail "no command is named" "scripts/vm/one.sh run 10k"
[[ ${words[0]} != -* ]] || fail "'${words[0]}' is not known" "scripts/vm/one.sh --help"
[[ ${words[0]} == c10k-* ]] || words=(c10k-lab "${words[@]}")
prepare
printf '%q ' "${words[@]}" | job one
echo "one machine with $memory_mib MiB under $accelerated_by" >&2
start_machine one
finish_machine one "$seconds"
cat "$work/one/out/stderr" >&2
cat "$work/one/out/stdout"
keep_results one
exit "$exit_code"
