#!/usr/bin/env bash
# Holds the manifests of this folder against the schemas of Kubernetes, with kubernetes-validate from PyPI, which brings
# them along, in a virtual environment below cargo's target folder. No cluster is asked, and nothing else is changed.
#
#   scripts/kubernetes/validate.sh
#
# What a schema does not see is checked by `cargo test -p c10k-lab --test packaging`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
package=kubernetes-validate==1.37.0
versions=(1.33.0 1.37.0)
target=$(cargo metadata --format-version 1 --no-deps --offline |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/kubernetes
if [[ ! -f $target/installed || $(<"$target/installed") != "$package" ]]; then
  python3 -m venv "$target"
  "$target/bin/python" -m pip install --quiet --disable-pip-version-check "$package"
  echo "$package" >"$target/installed"
fi
for version in "${versions[@]}"; do
  "$target/bin/kubernetes-validate" --strict --quiet --kubernetes-version "$version" "$here"/*.yaml
done
# A check that takes everything would say nothing: one planted fault is to be found.
planted=$(mktemp --suffix=.yaml)
trap 'rm -f "$planted"' EXIT
sed 's/^  maxFailedIndexes: 0$/  maxFailedIndices: 0/' "$here/swarm.yaml" >"$planted"
if "$target/bin/kubernetes-validate" --strict --kubernetes-version "${versions[0]}" "$planted" >/dev/null 2>&1; then
  echo "error: a key that there is none of was not found" >&2
  exit 1
fi
echo "the manifests fit the schemas of Kubernetes ${versions[*]}"
