#!/usr/bin/env python3
"""Whether records name a wall as proven, and no other.

    scripts/vm/names.py WALL RECORD…  prints a line for each; exit code 1 when one names another, or is not sure
"""
import json
import sys


def main(wall, paths):
    code = 0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            ceiling = json.load(file)["ceiling"] or {"walls": [], "degree": None}
        found = [met["name"] for met in ceiling["walls"]]
        code = code or found != [wall] or ceiling["degree"] != "proven"
        print(f"{path}: {', '.join(found) or 'no wall'}, {ceiling['degree']}")
    return int(code)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
