"""Time the engine takes for many resources over a world that answers at once.

Run as ``python -m tests.bench.bench_provider``.
Prints a table and, last, one JSON line with a ``ratio`` object. Wall times depend on what else the machine does; the
processor time of all processes of an operation is beside them.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.worlds import facility, make_world, pulumi_cli

HOSTS = 100
"""Each is two resources: a machine and a host."""
GOAL_SECONDS = 5.0


def measured(work: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[float, float]:
    """Wall and processor seconds of an operation."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    began, before = time.monotonic(), spent()
    asyncio.run(work())
    return time.monotonic() - began, spent() - before


def main() -> None:
    """Measure and print."""
    rows: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder), facility(hosts=HOSTS), pulumi_cli())
        lease = world.acquire()
        engine, stack = world.engine(lease), world.stack()
        rows["preview"] = measured(lambda: engine.preview(stack))
        rows["create"] = measured(lambda: engine.up(stack))
        rows["nothing changed"] = measured(lambda: engine.up(stack))
        rows["replace half"] = measured(lambda: engine.up(world.stack(version=2)))
        rows["destroy"] = measured(lambda: engine.destroy(stack))
        world.release(lease)
    sys.stdout.write(f"{2 * HOSTS} resources     wall s  processor s\n")
    for name, (wall, processor) in rows.items():
        sys.stdout.write(f"{name:18} {wall:7.2f} {processor:12.2f}\n")
    ratio = {"create_to_goal": round(rows["create"][0] / GOAL_SECONDS, 3)}
    sys.stdout.write(
        json.dumps({"seconds": {name: round(wall, 2) for name, (wall, _) in rows.items()}, "ratio": ratio})
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
