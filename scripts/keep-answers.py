#!/usr/bin/env python3
"""Copies the answers of finished sweeps to where Git keeps them, without what names the machine they were made on.

    scripts/keep-answers.py [RESULTS [KEPT]]              default: results/sweeps, results/experiments

Of the newest finished sweep of each name in RESULTS: KEPT/NAME/ holds answer.json, answers.csv, runs.csv, sweep.html,
the experiment itself (sweep.toml), and README.md, a paragraph. KEPT/README.md lists them. Where results/README.md has the
two lines `<!-- answers -->` and `<!-- end of answers -->`, the table of answers is written between them.

A line of a paragraph that begins with "In short:" was written by hand. It is kept.

Host name, boot id and paths are left out. Afterwards every file is searched for them: where one is left, nothing of that
sweep is kept, and the exit code is 1. Nothing is run.
"""

import csv
import io
import json
import pathlib
import re
import shutil
import sys
import tempfile

# A path from the root with two names or more. A closing tag of HTML begins behind a '<', a unit such as MiB/s behind a letter.
PATH = re.compile(r"(?<![\w/<.:+=-])/(?!proc/|sys/)(?:[\w.@+-]+/)+[\w.@+-]+")
BEGIN, END = "<!-- answers -->", "<!-- end of answers -->"
HAND_WRITTEN = "In short:"


def finished(results):
    """The newest folder of each sweep that has an answer, by its name."""
    newest = {}
    for path in sorted(results.glob("*-sweep-*/answer.json")):
        answer = json.loads(path.read_text())
        if answer.get("ended_at"):
            newest[answer["name"]] = (path.parent, answer)
    return newest


def without_paths(text):
    """A text in which of each path only the last name is left."""
    return PATH.sub(lambda found: found.group().rsplit("/", 1)[1], text)


def bare_answer(answer):
    host = {key: answer["host"][key] for key in ("kernel", "cpus", "memory_total", "user") if key in answer["host"]}
    broken = [{**one, "why": without_paths(one["why"])} for one in answer["broken"]]
    return {**answer, "host": host, "broken": broken}


def bare_runs(text):
    """The table of runs without the folders of the records, which are not kept."""
    rows = list(csv.reader(io.StringIO(text)))
    kept = [at for at, name in enumerate(rows[0]) if name != "folder"]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([row[at] for at in kept] for row in rows)
    return out.getvalue()


def bare_page(text, host_name):
    """The page without the machine's name, which stands before the kernel's."""
    return text.replace(f" · {host_name}, Linux ", " · Linux ") if host_name else text


def sides(answer):
    """What was found, side by side: a list of (side, [(metric, words)])."""
    found = {}
    for row in answer["answers"]:
        found.setdefault(row["side"], []).append((row["metric"], row["words"]))
    return list(found.items())


def expected_of(answer, row):
    """What was expected of a metric of a side, and whether it is so."""
    of_it = [one for one in answer["expected"]
             if one["side"] == row["side"] and re.split(r"[:<>=\s]", one["that"], maxsplit=1)[0] == row["metric"]]
    return "; ".join(f'{one["that"]}: {"met" if one["is_met"] else "NOT MET"}' for one in of_it)


def paragraph(answer, hand_written):
    lines = [f'# {answer["title"]}', ""]
    if answer["question"]:
        lines += [answer["question"], ""]
    if answer["believed"]:
        lines += [f'Believed: {answer["believed"]}', ""]
    lines += [line + "\n" for line in hand_written]
    lines += ["Measured:", ""]
    for side, metrics in sides(answer):
        lines += [f"- {side}"] + [f"  - {metric}: {words}" for metric, words in metrics]
    if answer["expected"]:
        unmet = [f'{one["that"]} ({one["side"]})' for one in answer["expected"] if not one["is_met"]]
        lines += ["", "Not as expected: " + "; ".join(unmet) + "." if unmet else "As expected."]
    same = [f'{row["metric"]}: {row["words"]}' for row in answer["same"]]
    if same:
        lines += ["", "The base against itself: " + "; ".join(same) + "."]
    host = answer["host"]
    lines += ["", f'{answer["runs"]} runs, {answer["started_at"]} to {answer["ended_at"]}, seed {answer["seed"]}; '
              f'Linux {host["kernel"]}, {host["cpus"]} processors, {host["memory_total"]}. Again: '
              f'`c10k-lab sweep profiles/sweeps/{answer["name"]}.toml`.', "",
              "[Every run as a point](sweep.html) · [runs](runs.csv) · [answers](answers.csv) · [document](answer.json)", ""]
    return "\n".join(lines)


def table(answers, folder):
    cell = lambda text: str(text).replace("|", "\\|")
    lines = ["| experiment | believed | side | metric | answer | expected |", "|---|---|---|---|---|---|"]
    for name, answer in sorted(answers.items()):
        first = (f"[{name}]({folder}{name}/README.md)", answer["believed"])
        for row in answer["answers"]:
            cells = (*first, row["side"], row["metric"], row["words"], expected_of(answer, row))
            lines.append("| " + " | ".join(map(cell, cells)) + " |")
            first = ("", "")
    return "\n".join(lines) + "\n"


def named_in(folder, secrets):
    """Where a file names the machine: file and text."""
    for path in sorted(folder.iterdir()):
        text = path.read_text()
        for secret in secrets:
            if re.search(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", text):
                yield f"{path.name}: {secret}"
        for found in PATH.finditer(text):
            yield f"{path.name}: {found.group()}"


def keep(folder, answer, kept):
    """Writes the files of one sweep; what still names the machine is returned, and then nothing was written."""
    place = kept / answer["name"]
    old = place / "README.md"
    hand_written = [line for line in old.read_text().splitlines() if line.startswith(HAND_WRITTEN)] if old.exists() else []
    bare = bare_answer(answer)
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as made:
        new = pathlib.Path(made) / answer["name"]
        new.mkdir()
        texts = {
            "answer.json": json.dumps(bare, indent=2, ensure_ascii=False) + "\n",
            "answers.csv": (folder / "answers.csv").read_text(),
            "runs.csv": bare_runs((folder / "runs.csv").read_text()),
            "sweep.html": bare_page((folder / "sweep.html").read_text(), answer["host"].get("name")),
            "sweep.toml": (folder / "sweep.toml").read_text(),
            "README.md": paragraph(bare, hand_written),
        }
        for name, text in texts.items():
            (new / name).write_text(text)
        secrets = [answer["host"][key] for key in ("name", "boot") if answer["host"].get(key)]
        left = list(named_in(new, secrets))
        if not left:
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)
    return left


def write_between(path, text):
    """Writes the table between its two lines; nothing where the file has no such lines."""
    if not path.is_file() or BEGIN not in (whole := path.read_text()) or END not in whole:
        return
    before, rest = whole.split(BEGIN, 1)
    path.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")


def main():
    arguments = sys.argv[1:]
    if len(arguments) > 2 or any(one.startswith("-") for one in arguments):
        sys.exit(__doc__)
    top = pathlib.Path(__file__).resolve().parent.parent
    results = pathlib.Path(arguments[0]) if arguments else top / "results/sweeps"
    kept = pathlib.Path(arguments[1]) if len(arguments) > 1 else top / "results/experiments"
    newest = finished(results)
    if not newest:
        sys.exit(f"error: no finished sweep in '{results}'\nhint: scripts/run-sweeps.sh makes them")
    is_left = False
    for name, (folder, answer) in sorted(newest.items()):
        left = keep(folder, answer, kept)
        for one in left:
            print(f"error: {name} is not kept, it names the machine: {one}", file=sys.stderr)
        is_left |= bool(left)
        if not left:
            print(f"{name}: {kept / name}")
    answers = {path.parent.name: json.loads(path.read_text()) for path in kept.glob("*/answer.json")}
    if answers:
        head = "# Answers of the experiments\n\nThe newest answer of each file in `profiles/sweeps/`, copied by " \
               "`scripts/keep-answers.py`.\n\n"
        (kept / "README.md").write_text(head + table(answers, ""))
        write_between(kept.parent / "README.md", table(answers, f"{kept.name}/"))
    sys.exit(1 if is_left else 0)


if __name__ == "__main__":
    main()
