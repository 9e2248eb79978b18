#!/usr/bin/env bash
# Installs the foreign WebSocket peers that the tests run against: Python's `websockets` and `aiohttp` in a virtual
# environment, with `hdrhistogram`, which reads latency.hlog; Node's `ws` and `socket.io` in a node_modules. By name and
# version, from wherever pip and npm of this machine fetch packages; nothing outside the target folder is changed.
#
#   scripts/interop-setup.sh [TARGET_DIR]        default: interop below cargo's target directory
#
# Tests look in target/interop, or where $C10K_INTEROP says, and say SKIPPED where a peer is missing. A second call
# with all in place does nothing. What cannot be installed is named, and the exit code is then 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python_packages=(websockets==15.0.1 aiohttp==3.12.15 hdrhistogram==0.10.8)
node_packages=(ws@8.18.3 socket.io@4.8.1)

default_target() {
    cargo metadata --format-version 1 --no-deps --offline \
        | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

target=${1:-${C10K_INTEROP:-$(default_target)/interop}}
wanted="${python_packages[*]} ${node_packages[*]}"
if [[ -f $target/installed && $(<"$target/installed") == "$wanted" ]]; then
    echo "interoperability peers are in $target"
    exit 0
fi
mkdir -p "$target"
missing=0

install_python_peers() {
    python3 -m venv "$target/venv" \
        && "$target/venv/bin/python" -m pip install --quiet --disable-pip-version-check "${python_packages[@]}"
}

install_node_peers() {
    [[ -f $target/package.json ]] || echo '{"private": true}' >"$target/package.json"
    (cd "$target" && npm install --silent --no-audit --no-fund --no-save --package-lock=false "${node_packages[@]}")
}

if ! command -v python3 >/dev/null || ! install_python_peers; then
    echo "missing: ${python_packages[*]} (needs python3 with venv and pip)" >&2
    missing=1
fi
if ! command -v npm >/dev/null || ! install_node_peers; then
    echo "missing: ${node_packages[*]} (needs node and npm)" >&2
    missing=1
fi
if ((missing)); then
    exit 1
fi
echo "$wanted" >"$target/installed"
echo "interoperability peers are in $target"
