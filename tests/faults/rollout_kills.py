"""Kills rollouts at every boundary they cross: ``python -m tests.faults.rollout_kills [POINT]…``; one JSON line.

One warmed process forks for each point: a child that carries a rollout out until it ends itself by SIGKILL there, then
one that gives the same command again. What is there then is judged by the world's own file and by plain SQL. Points
are after each effect and each commit: between two of them nothing is on disk that was not after the first.
"""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pachon.model.rollout import Pace, Rolling
from pachon.progress import silent
from pachon.rollout.beginning import Order, Subject, carry_out
from pachon.store.database import Store, open_store
from pachon.store.lease import held_leases
from tests.rollout_world import FiledWorld
from tests.rollouts import NEW, OLD, ZONES, place, rules, service

LIMIT_SECONDS = 240
MEMORY = Path("/dev/shm")
PLACES = (place(), place("base", instances=3, room=0))
SUBJECT = Subject(
    facility="made",
    zones=ZONES,
    service=service(),
    rules=rules(strategy=Rolling(at_once=2), pace=Pace(soak_seconds=1, check_seconds=1)),
    releases={OLD.version: OLD, NEW.version: NEW},
    places=PLACES,
    signers=None,
)
ORDER = Order(version=NEW.version, sites=(), by="test", why="to be killed", command="pachon rollout start")
SCENES = {"good": NEW.version, "bad": OLD.version}
"""What each ends in: ``bad`` begins to err when the second site has a third of it."""


@dataclass
class Boundaries:
    """Those of one process."""

    target: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> None:
        """Cross one; the last thing that the process does if it is the target."""
        self.seen[name] += 1
        whole = f"{name}#{self.seen[name]}"
        self.names.append(whole)
        if whole == self.target:
            os.kill(os.getpid(), signal.SIGKILL)


def turns_bad(world: FiledWorld) -> None:
    """Have the new release err once the second site has given it more than a first share."""
    if world.read()["places"][PLACES[1].address]["shares"][NEW.version] > 5:
        world.bad = "query"


def rollout(folder: Path, scene: str, cross: Boundaries) -> None:
    """Carry the scene's rollout out, or go on with it."""
    world = FiledWorld(folder / "world.json", cross=cross)
    world.each_second = turns_bad if scene == "bad" else None
    store = open_store(folder / "store.db")
    begin = store.transaction

    def commit() -> Any:
        return Around(begin, cross)

    store.transaction = commit  # type: ignore[method-assign]
    asyncio.run(carry_out(SUBJECT, ORDER, world, store, silent))
    if left := [held.site for held in held_leases(store) if not held.dead]:
        raise AssertionError(f"leases are not given back: {left}")


class Around:
    """A transaction, with a boundary once it is committed."""

    def __init__(self, begin: Callable[[], Any], cross: Boundaries) -> None:
        self._inner, self._cross = begin(), cross

    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        answer = self._inner.__exit__(*error)
        if error[0] is None:
            self._cross("store")
        return answer


def child(work: Callable[[], None], said: Path) -> int:
    """How a child that does this ended (minus the signal)."""
    number = os.fork()
    if number == 0:
        status = 1
        try:
            signal.alarm(LIMIT_SECONDS)
            work()
            status = 0
        except BaseException:
            said.write_text(traceback.format_exc())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def over(folder: Path) -> bool:
    """Whether the rollout's end is on record: only its leases were to be given back."""
    with sqlite3.connect(folder / "store.db") as store:
        return bool(store.execute("SELECT count(*) FROM rollouts WHERE ended_at IS NOT NULL").fetchone()[0])


def judge(folder: Path, scene: str) -> Iterator[str]:
    """What is wrong once the rollout has ended."""
    world = json.loads((folder / "world.json").read_text())
    yield from world["wrong"]
    version = SCENES[scene]
    for each in PLACES:
        one = world["places"][each.address]
        there = {name: sorted(names) for name, names in one["there"].items() if names}
        if there != {version: sorted(each.instances)} or one["shares"][version] != 100:
            yield f"{each.address} ends as {one}"
    with sqlite3.connect(folder / "store.db") as store:
        asked = "SELECT ended_at IS NOT NULL, outcome FROM rollouts"
        if store.execute(asked).fetchall() != [(1, "done" if scene == "good" else "rolled back")]:
            yield "the store does not have exactly one rollout that ended so"
        numbers = [row[0] for row in store.execute("SELECT number FROM rollout_steps WHERE way = 'forward' ORDER BY 1")]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"steps were left out or taken out of their order: {numbers}"
        again = store.execute("SELECT sum(attempts - 1) FROM rollout_steps").fetchone()[0]
        if again > 1:
            yield f"{again} steps were taken again, and one at most was cut off"
        held = store.execute("SELECT version FROM release_holds WHERE lifted_at IS NULL").fetchall()
        if held != ([] if scene == "good" else [(NEW.version,)]):
            yield f"held is {held}"
        force = {row[0] for row in store.execute("SELECT version FROM releases_in_force")}
        if force != {version}:
            yield f"in force is {force}"


def try_point(top: Path, point: str) -> list[str]:
    """What is wrong after a kill there and the same command again."""
    scene, _, name = point.partition("/")
    folder = Path(tempfile.mkdtemp(dir=top))
    shutil.copytree(top / "blank", folder, dirs_exist_ok=True)
    said = folder / "said"
    try:
        status = child(lambda: rollout(folder, scene, Boundaries(name)), said)
        if status != -signal.SIGKILL:
            return [f"it was not killed there: {status} {said.read_text() if said.exists() else ''}"]
        if over(folder):
            return list(judge(folder, scene))
        status = child(lambda: rollout(folder, scene, Boundaries()), said)
        if status != 0:
            return [f"the same command again ends with {status}: {said.read_text() if said.exists() else ''}"]
        return list(judge(folder, scene))
    finally:
        shutil.rmtree(folder)


def main(chosen: Sequence[str]) -> int:
    """Exit status: 1 if anything was wrong at a point."""
    with tempfile.TemporaryDirectory(prefix="t-rollout-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name:
        top = Path(name)
        blank = top / "blank"
        blank.mkdir()
        FiledWorld.made(blank / "world.json", PLACES)
        store: Store = open_store(blank / "store.db")
        store.close()
        points: list[str] = []
        for scene in SCENES:
            folder = top / scene
            shutil.copytree(blank, folder)
            crossed = Boundaries()

            def whole(folder: Path = folder, scene: str = scene, crossed: Boundaries = crossed) -> None:
                rollout(folder, scene, crossed)
                (folder / "names").write_text("\n".join(crossed.names))

            status = child(whole, top / "said")
            if status != 0 or (amiss := list(judge(folder, scene))):
                raise AssertionError(f"{scene}, which nobody kills: {status} {amiss if status == 0 else ''}")
            points += [f"{scene}/{each}" for each in (folder / "names").read_text().split()]
        if chosen == ["--list"]:
            sys.stdout.write("\n".join(points) + "\n")
            return 0
        wrong = {point: try_point(top, point) for point in chosen or points}
        sys.stdout.write(json.dumps(wrong) + "\n")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
