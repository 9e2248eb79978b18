#!/usr/bin/env bash
# The experiments of profiles/sweeps, one after the other: over night. Started again it leaves out what is finished and
# goes on with what was interrupted.
#
#   scripts/run-sweeps.sh [RESULTS [NAME…]]               default: results/sweeps, all of them
#
# Each sweep leaves its folder in RESULTS; RESULTS/answers.md is the table of all answers. scripts/keep-answers.py copies them
# to where Git keeps them. Root is needed for those that
# raise a limit of the whole host or make a control group: they are put back. What this host cannot set is left out and named
# at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
results=${1:-results/sweeps}
shift || true
names=("$@")
if (( ${#names[@]} == 0 )); then
    for file in profiles/sweeps/*.toml; do
        name=${file##*/}
        names+=("${name%.toml}")
    done
fi
cargo build --release --quiet --bin c10k-lab
lab=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/c10k-lab
mkdir -p "$results"

# The newest folder of a sweep whose answer is there and whose file is the present one.
finished() {
    local folder found=
    for folder in "$results"/*-sweep-"$1"; do
        if [[ -f $folder/answer.json ]] && cmp -s "$folder/sweep.toml" "profiles/sweeps/$1.toml"; then found=$folder; fi
    done
    [[ -n $found ]] && printf '%s\n' "$found"
}

broken=() left_out=()
for name in "${names[@]}"; do
    if folder=$(finished "$name"); then
        echo "$name: finished, $folder"
        continue
    fi
    code=0
    "$lab" sweep "profiles/sweeps/$name.toml" --results "$results" || code=$?
    case $code in
        0 | 1) ;; # an answer, as expected or not
        3) left_out+=("$name") ;; # this host cannot set it, or has changed: the sweep has said which
        130 | 143) echo "stopped; start it again to go on" >&2; exit "$code" ;;
        *) broken+=("$name ($code)") ;;
    esac
done

python3 - "$results" >"$results/answers.md" <<'PYTHON'
import json, pathlib, sys

newest = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*-sweep-*/answer.json")):
    answer = json.loads(path.read_text())
    newest[answer["name"]] = (path.parent.name, answer)
cell = lambda text: str(text).replace("|", "\\|")
print("| experiment | believed | side | metric | answer | expected |\n|---|---|---|---|---|---|")
for name, (folder, answer) in sorted(newest.items()):
    for row in answer["answers"]:
        of_it = [one for one in answer["expected"]
                 if one["side"] == row["side"] and one["that"].split()[0].rstrip(":") == row["metric"]]
        expected = "; ".join(f'{one["that"]}: {"met" if one["is_met"] else "NOT MET"}' for one in of_it)
        first = (f"[{name}]({folder}/sweep.html)", answer["believed"])
        print("| " + " | ".join(cell(text) for text in (*first, row["side"], row["metric"], row["words"], expected)) + " |")
PYTHON
echo "answers: $results/answers.md"
if (( ${#left_out[@]} > 0 )); then
    echo "left out (3): ${left_out[*]}" >&2
fi
if (( ${#broken[@]} > 0 )); then
    echo "no answer from: ${broken[*]}" >&2
    exit 4
fi
