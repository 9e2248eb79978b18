#!/usr/bin/env bash
# Makes the pictures of the documents from real runs.
#
#   scripts/picture.sh [ARGUMENTS OF c10k-lab]     docs/run.svg, a run in a terminal; by default: run 100k
#   scripts/picture.sh --page RUN                  docs/report.png and docs/report-dark.png, the top of the page of a
#                                                  run, a climb or a record.json that is there
#
# C10K_LAB names the binary (default target/release/c10k-lab), LINES_SHOWN how many lines the picture of a run has (30),
# SIZE_SHOWN how many pixels that of a page has (1200,1000).
# Needs python3, for pages chromium. The run goes into a folder of its own, which is removed.
set -euo pipefail

# The top of a page, as Chromium shows it in a window of this size. It loads nothing from the network.
picture_page() {
  local lab=$1 run=$2 folder look file
  folder=$(mktemp -d)
  # The function is left before the trap runs.
  # shellcheck disable=SC2064
  trap "rm -rf '$folder'" EXIT
  "$lab" report "$run" --html "$folder/report.html"
  for look in light dark; do
    file=docs/report.png
    local flags=(--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking
      --proxy-server=127.0.0.1:1 --hide-scrollbars --user-data-dir="$folder/$look"
      --window-size="${SIZE_SHOWN:-1200,1000}")
    if [[ $look == dark ]]; then
      file=docs/report-dark.png
      flags+=(--blink-settings=preferredColorScheme=0)
    fi
    HOME=$folder chromium "${flags[@]}" --screenshot="$folder/$look.png" "file://$folder/report.html" \
      2>"$folder/stderr" || { cat "$folder/stderr" >&2; return 1; }
    cp "$folder/$look.png" "$file"
    echo "$file: $(stat --format=%s "$file") bytes of $run"
  done
}

run=
if [[ ${1-} == --page ]]; then
  [[ $# == 2 ]] || { echo "error: --page takes one run, as in: scripts/picture.sh --page results/RUN" >&2; exit 2; }
  run=$(realpath "$2")
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
lab=$(realpath "${C10K_LAB:-target/release/c10k-lab}")
if [[ -n $run ]]; then
  picture_page "$lab" "$run"
  exit
fi

arguments=("$@")
(( $# > 0 )) || arguments=(run 100k)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# A summary may be on stdout or stderr; what it says of the way there is not shown.
(cd "$folder" && COLUMNS=80 "$lab" "${arguments[@]}" --color always) >"$folder/out" 2>&1 || true
python3 - "$folder/out" docs/run.svg "${LINES_SHOWN:-30}" "c10k-lab ${arguments[*]}" <<'PYTHON'
import re
import sys
from xml.sax.saxutils import escape

source, target, shown, command = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
COLOURS = {"31": "#f97583", "32": "#85e89d", "33": "#ffea7f", "36": "#79b8ff"}
WIDTH, LINE, LEFT, TOP = 8.4, 18, 16, 44

with open(source, encoding="utf-8") as file:
    lines = [line.rstrip("\n").split("\r")[-1] for line in file]
# From the headline on: what stands before it is progress and notes.
begin = next((n for n, line in enumerate(lines) if re.search(r"(HELD|SHORT|FAILED)\b", line)), 0)
lines = ["\x1b[36m$\x1b[0m " + command] + lines[begin:]
lines = [line for line in lines if "/tmp/" not in line][:shown]


def spans(line):
    """The line as pieces of SVG, one for each change of colour."""
    style, out = "", []
    for piece in re.split(r"(\x1b\[[0-9;]*[A-Za-z])", line):
        codes = re.fullmatch(r"\x1b\[([0-9;]*)m", piece)
        if codes:
            style = ""
            for code in codes[1].split(";"):
                if code in COLOURS:
                    style += f' fill="{COLOURS[code]}"'
                elif code == "1":
                    style += ' font-weight="bold"'
                elif code == "2":
                    style += ' opacity="0.65"'
        elif piece and not piece.startswith("\x1b"):
            out.append(f"<tspan{style}>{escape(piece)}</tspan>")
    return "".join(out)


plain = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line) for line in lines]
width = round(max(80, *(len(line) for line in plain)) * WIDTH + 2 * LEFT)
height = TOP + len(lines) * LINE + 12
rows = "\n".join(
    f'<text x="{LEFT}" y="{TOP + n * LINE + 12}" xml:space="preserve">{spans(line)}</text>'
    for n, line in enumerate(lines)
)
dots = "".join(f'<circle cx="{20 + 18 * n}" cy="18" r="5" fill="#444c56"/>' for n in range(3))
with open(target, "w", encoding="utf-8") as file:
    file.write(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">\n'
        f"<title>{escape(command)}</title>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#22272e"/>\n{dots}\n'
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="#d1d5da">\n{rows}\n</g>\n</svg>\n'
    )
print(f"{target}: {len(lines)} lines of {command}")
PYTHON
