"""Time the engine takes for many resources over a world that answers at once, and that a plan of none of them takes.

Run as ``python -m tests.bench.bench_provider``; with ``1000`` for that size only.
Prints tables and, last, one JSON line with a ``ratio`` object: what is reached is 1 or less. Wall times depend on what
else the machine does; the processor time of all processes of an operation is beside them. The world is files in
memory, as machines are not what is measured; store and engine's state are files on disk.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pachon.layers.hardware import SiteHardware, code_digest
from pachon.model.hardware import STACKS
from pachon.plan.document import Plan
from pachon.plan.making import Basis, definition_of, plan_of
from pachon.planning import Seen, ask, findings
from pachon.progress import silent
from pachon.site_look import look
from pachon.sites import CODE
from pachon.store.lease import Lease
from tests.worlds import World, facility, make_world, pulumi_cli

SIZES = (200, 1000, 2000)
"""Resources; each host is two: a machine and itself."""
GOAL_SECONDS = {200: 5.0, 2000: 20.0}
GOAL_GROWTH = 2.2
"""2,000 against 1,000."""
GOAL_PLAN_SECONDS = 1.0
MEMORY = Path("/dev/shm")
Rows = dict[str, tuple[float, float]]


def measured(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Wall and processor seconds of an operation."""

    def spent() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
        return sum(usage.ru_utime + usage.ru_stime for usage in both)

    async def whole() -> None:
        await work()

    began, before = time.monotonic(), spent()
    asyncio.run(whole())
    return time.monotonic() - began, spent() - before


def all_verbs(world: World, lease: Lease) -> Rows:
    """What the engine takes for a stack's life."""
    engine, stack = world.engine(lease), world.stack()
    return {
        "preview": measured(lambda: engine.preview(stack)),
        "create": measured(lambda: engine.up(stack)),
        "nothing changed": measured(lambda: engine.up(stack)),
        "replace half": measured(lambda: engine.up(world.stack(version=2))),
        "destroy": measured(lambda: engine.destroy(stack)),
    }


def creation(world: World, lease: Lease) -> Rows:
    """What the engine takes to create all, and a plan once nothing is to be done any more."""
    rows = {"create": measured(lambda: world.engine(lease).up(world.stack()))}
    stacks = {name: world.stack(name) for name in STACKS}
    hardware = SiteHardware(engine=world.engine(lease), store=world.store, stack_by_name=stacks)
    for name in STACKS:
        hardware.keep_receipt(name, run_id=lease.run_id, code=code_digest(CODE), document={})

    async def plan(eyes: bool) -> Plan:
        site, code = world.facility.sites[0], code_digest(CODE)
        layer = SiteHardware(engine=world.engine(None), store=hardware.store, stack_by_name=stacks)
        seen = await look(site, layer, None, code=code, progress=silent, eyes=eyes)
        told = findings(await ask(Seen(site, layer, None, seen), progress=silent))
        made = plan_of(world.facility, [told], Basis(definition=definition_of(world.facility), code={"stacks": code}))
        if made.pending or made.engines:
            raise SystemExit("the plan of unchanged stacks is not empty")
        return made

    rows["plan of no change"] = measured(lambda: plan(eyes=False))
    rows["the same, machines looked at"] = measured(lambda: plan(eyes=True))
    hardware.store.close()
    return rows


def rows_of(resources: int) -> Rows:
    """What was measured with a world of that size."""
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as machines, tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(machines), facility(hosts=resources // 2), pulumi_cli())
        world = replace(world, state=Path(folder) / "state")
        lease = world.acquire()
        try:
            return all_verbs(world, lease) if resources == min(SIZES) else creation(world, lease)
        finally:
            world.release(lease)


def main() -> None:
    """Measure and print."""
    rows: dict[int, Rows] = {}
    for size in [int(argument) for argument in sys.argv[1:]] or SIZES:
        rows[size] = rows_of(size)
        sys.stdout.write(f"{size} resources{'':18} wall s  processor s\n")
        for name, (wall, processor) in rows[size].items():
            sys.stdout.write(f"{name:30} {wall:7.2f} {processor:12.2f}\n")
        sys.stdout.flush()
    ratio = {
        f"create_{size}_to_goal": round(rows[size]["create"][0] / goal, 3)
        for size, goal in GOAL_SECONDS.items()
        if size in rows
    }
    if {1000, 2000} <= rows.keys():
        growth = rows[2000]["create"][0] / rows[1000]["create"][0]
        ratio |= {"growth_2000_to_1000": round(growth, 3), "growth_to_goal": round(growth / GOAL_GROWTH, 3)}
    if 2000 in rows:
        ratio["plan_of_no_change_to_goal"] = round(rows[2000]["plan of no change"][0] / GOAL_PLAN_SECONDS, 3)
    seconds = {size: {name: round(wall, 2) for name, (wall, _) in own.items()} for size, own in rows.items()}
    sys.stdout.write(json.dumps({"seconds": seconds, "ratio": ratio}) + "\n")


if __name__ == "__main__":
    main()
