"""Holds a merged record against the shards' own results and against what was expected, for scripts/proof.bash.

    proof.py FOLDER --target N --shards 1,2,3 [--held N] [--seen N] [--lost K --policy fail|degrade --lost-at SECONDS]

FOLDER has shard-K-of-N.json and merged/record.json. --seen is what ss(8) counted at the server while all were held.
Prints one line; ends with 1 and the first difference where there is one.
"""

import argparse
import json
import pathlib
import sys


def main():
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=pathlib.Path)
    options.add_argument("--target", type=int, required=True)
    options.add_argument("--shards", type=lambda text: [int(part) for part in text.split(",")], required=True)
    for name in ("--held", "--seen", "--lost"):
        options.add_argument(name, type=int)
    options.add_argument("--policy")
    options.add_argument("--lost-at", type=float)
    wanted = options.parse_args()

    record = json.loads((wanted.folder / "merged/record.json").read_text())
    merged, shards = record["connections"], record["shards"]
    counted = {part["shard"]: part for part in shards["parts"]}
    own = {}
    for path in sorted(wanted.folder.glob("shard-*-of-*.json")):
        result = json.loads(path.read_text())
        own[result["shard"]["index"]] = (result, path.stat().st_mtime)

    def same(what, is_, should):
        if is_ != should:
            sys.exit(f"{what} is {is_!r}, expected {should!r}")

    same("the run's target", merged["target"], wanted.target)
    same("the number of shards", shards["of"], 3)
    same("the shards that are counted", sorted(counted), wanted.shards)
    lost = {one["shard"]: one["why"] for one in shards["lost"]}
    if wanted.policy == "fail":
        # None went its way to the end; which one was to blame is the first thing that the record says.
        same("the shards that did not come to their end", sorted(lost), [1, 2, 3])
        if f"shard {wanted.lost} of 3 was lost" not in record["ended_because"]:
            sys.exit(f"the record does not name the shard that was lost: {record['ended_because']!r}")
    else:
        same("the shards that are lost", sorted(lost), [wanted.lost] if wanted.lost else [])
    # Nothing is taken from the merged record's own sums.
    held = sum(held_of(own[shard][0]) for shard in wanted.shards)
    same("the sum of what the shards held", merged["held"], held)
    said = f"{held:,} held by {len(wanted.shards)} of 3"
    if wanted.held is not None:
        same("what was held", held, wanted.held)
        same("what each shard held", {held_of(own[shard][0]) for shard in wanted.shards}, {wanted.held // 3})
        same("what the server accepted", merged["accepted"], wanted.held)
        same("what ss counted at the server", wanted.seen, wanted.held)
        said += f", {merged['accepted']:,} accepted, {wanted.seen:,} counted by ss"
    if wanted.policy == "degrade":
        same("what the shards that are left held", held, wanted.target // 3 * 2)
    if wanted.lost_at is not None:
        ends = [own[shard][1] - wanted.lost_at for shard in wanted.shards]
        said += f"; the others had written their results {max(ends):.1f} s after the loss"
        # The hold of a run that fails is 60 s: it did not go on to its end.
        if wanted.policy == "fail" and max(ends) > 30:
            sys.exit(f"a run that fails went on for {max(ends):.1f} s after the loss")
    print(f"   {said}", file=sys.stderr)


def held_of(result):
    """Of a shard's own result."""
    return result["record"]["connections"]["held"]


main()
