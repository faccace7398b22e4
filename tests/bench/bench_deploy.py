"""``make bench-deploy``: sixteen machines from power-off to ssh, and a firmware machine beside them.

The ratio compares with the machines deployed one after another (measured on two of them, times eight).
"""

import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from tests.bench.running import Pachon, table
from tests.e2e import making

SIXTEEN = 16


def main() -> None:
    """Print the table and one line of JSON."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as scratch:
        root = Path(scratch)
        many = making.small(root / "many", name="bench-many", network="198.19.240", containers=SIXTEEN)
        single = making.small(root / "one", name="bench-one", network="198.19.244", containers=1)
        mixed = making.small(root / "mixed", name="bench-mixed", network="198.19.248", containers=SIXTEEN, firmware=1)
        alone = _slowest(_seconds_by_host(single, root / "state"))
        together = _seconds_by_host(many, root / "state")
        beside = _seconds_by_host(mixed, root / "state")
    firmware = f"bench-mixed-{SIXTEEN + 1:02}"
    rows: list[tuple[str, float]] = [
        ("1 container, from power-off to ssh", alone),
        ("16 containers at once, first", min(together.values())),
        ("16 containers at once, last", _slowest(together)),
        ("16 containers beside a firmware machine, last", max(s for name, s in beside.items() if name != firmware)),
        ("the firmware machine beside them", beside[firmware]),
    ]
    sys.stdout.write(table(("what", "seconds"), rows))
    ratio = {"at_once_to_one_after_another": round(_slowest(together) / (SIXTEEN * alone), 3)}
    sys.stdout.write(json.dumps({"bench": "deploy", "seconds": dict(rows), "ratio": ratio}) + "\n")


def _slowest(seconds: dict[str, float]) -> float:
    return max(seconds.values())


def _seconds_by_host(facility: Path, state: Path) -> dict[str, float]:
    """From the moment at which the first machine is begun with, to each host's login with its certificate."""
    pachon = Pachon(facility, state)
    try:
        report = pachon.run("up")
        begun: dict[str, datetime] = {}
        ended: dict[str, datetime] = {}
        for line in (state / report["facility"] / "events.jsonl").read_text().splitlines():
            event = json.loads(line)
            parts = event["address"].split("/")
            if len(parts) == 3 and parts[1] == "host" and event["stage"] != "hosts":  # configuring comes after
                moment = datetime.fromisoformat(event["at"])
                if event["state"] == "started":
                    begun.setdefault(parts[2], moment)
                elif event["state"] == "done":
                    ended[parts[2]] = moment
    finally:
        pachon.run("down")
    first = min(begun.values())
    return {host: round((moment - first).total_seconds(), 1) for host, moment in ended.items()}


if __name__ == "__main__":
    main()
