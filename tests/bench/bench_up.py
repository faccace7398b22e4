"""``make bench-up``: how long every stage of ``pachon up`` takes: with the lab down and warm caches, and again at once.

Measures a copy of the shipped lab (its firmware machine included), so it can run beside a person's lab.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.running import Pachon, table
from tests.e2e import making


def main() -> None:
    """Print the table and one line of JSON."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as scratch:
        facility = making.copy_of_lab(Path(scratch) / "facility", name="bench-up")
        pachon = Pachon(facility, Path(scratch) / "state")
        try:
            warm, warm_seconds = _measured(pachon)
            again, again_seconds = _measured(pachon)
        finally:
            pachon.run("down")
    stages = list(dict.fromkeys([*warm["seconds_by_stage"], *again["seconds_by_stage"]]))
    rows = [
        (stage, warm["seconds_by_stage"].get(stage, 0.0), again["seconds_by_stage"].get(stage, 0.0)) for stage in stages
    ]
    rows.append(("whole command", round(warm_seconds, 1), round(again_seconds, 1)))
    sys.stdout.write(table(("stage", "warm s", "again s"), rows))
    sys.stdout.write("stages overlap: network and compute run side by side\n")
    ratio = {"again_to_warm": round(again_seconds / warm_seconds, 4)}
    summary = {"bench": "up", "warm_s": warm_seconds, "again_s": again_seconds, "changed_again": again["changed"]}
    sys.stdout.write(json.dumps({**summary, "ratio": ratio}) + "\n")


def _measured(pachon: Pachon) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    report = pachon.run("up")
    return report, round(time.monotonic() - began, 2)


if __name__ == "__main__":
    main()
