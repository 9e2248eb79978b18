#!/usr/bin/env python3
"""Whether a record of two hosts closes: accepted = held = target, and of each end's memory at most 5 % unexplained.

    scripts/vm/closes.py RECORD…      prints a line for each; exit code 1 when one does not close
"""
import json
import sys

MOST_UNEXPLAINED = 0.05


def gaps(record):
    """What does not close, as words."""
    count = record["connections"]
    for name in ("accepted", "held"):
        if count[name] != count["target"]:
            yield f"{name} is {count[name]}, target {count['target']}"
    hosts = record.get("two_hosts")
    if hosts is None:
        yield "it is not of two hosts"
        return
    for end in ("server", "client"):
        ratio = hosts[end]["memory_per_connection"]["unexplained_ratio"]
        if ratio is None or abs(ratio) > MOST_UNEXPLAINED:
            yield f"unexplained of the {end}'s memory: {ratio}, at most {MOST_UNEXPLAINED}"


def main(paths):
    if not paths:
        sys.exit(__doc__)
    code = 0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        found = list(gaps(record))
        code = code or bool(found)
        print(f"{path}: {'; '.join(found) or 'closes'}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
