"""What ``pachon up`` does with hosts, alone: digests against receipts, one probe a host, a play of what is not right.

A process of its own for each run: ``python -m tests.bench.converge.ours FACILITY STATE``. Prints one line of JSON.
"""

import asyncio
import json
import sys
from pathlib import Path

from pachon.processes import brief


async def converge(folder: Path, state: Path) -> dict[str, object]:
    """What had to be played, what did not answer and what failed."""
    from pachon import defined
    from pachon.layers.hosts import SiteHosts
    from pachon.store.database import open_store
    from pachon.store.lease import hold

    facility = defined.load(folder).facility  # as each command has it
    (site,) = facility.sites
    store = open_store(state / "store.db")
    try:
        with hold(store, site.name, facility=facility.name, command="bench") as lease:
            layer = SiteHosts(
                facility=facility, site=site, state=state, store=store, generations={}, baked={}, lease=lease
            )
            await layer.look()
            pending = layer.pending()
            troubles = await layer.play(list(pending)) if pending else []
            return {
                "asked": len(layer.sight.asked),
                "failed": [f"{each.address}: {each.error}" for each in troubles],
                "played": sorted(pending),
                "silent": dict(layer.sight.unanswered),
            }
    finally:
        store.close()


def main() -> int:
    """The exit status: 0 if all hosts are as the role says."""
    told = asyncio.run(converge(Path(sys.argv[1]), Path(sys.argv[2])))
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if told["failed"] or told["silent"] else 0


if __name__ == "__main__":
    brief.begin()  # begins and ends as the command line does
    brief.end(main())
