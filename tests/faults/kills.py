"""Kills runs at every boundary they cross, on files: ``python -m tests.faults.kills [--list] [POINT…]``.

One process is warmed up and forks for each point: a child that begins from a snapshot and ends itself by SIGKILL at the
point, then a child that runs the same command again; what is there then is judged by ``oracle``.
"""

import argparse
import faulthandler
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import boundaries, broken, oracle, regressions, scenes
from tests.faults.scenes import SCENES, Place, Scene

LIMIT_SECONDS = 240
"""Of one child: it waits for nothing, so this is the patience with a busy machine."""
LOOKED_AGAIN = 8
"""After every so many points the next run is carried out too, which must find nothing to do."""
MEMORY = Path("/dev/shm")


def child(place: Place, work: Callable[[], None]) -> tuple[int, str]:
    """How a child that does this work ended (minus the signal), and what it said."""
    said, hung = place.top / "said", place.top / "hung"
    said.unlink(missing_ok=True)
    number = os.fork()
    if number == 0:
        status = 1
        try:
            signal.alarm(LIMIT_SECONDS)
            with hung.open("w") as file:
                faulthandler.dump_traceback_later(LIMIT_SECONDS - 5, file=os.dup(file.fileno()))
            scenes.furnish(place)
            work()
            status = 0
        except BaseException as error:
            lines = traceback.format_exception(error)[-3:]
            said.write_text(f"{type(error).__name__}: {error} {''.join(lines)}")
        finally:
            os._exit(status)
    _, ended = os.waitpid(number, 0)
    ended = os.waitstatus_to_exitcode(ended)
    if ended == -signal.SIGALRM:
        return ended, hung.read_text()  # where each of its threads stood
    return ended, said.read_text() if said.exists() else ""


@dataclass(frozen=True)
class Outcome:
    """What came of one point."""

    point: str
    wrong: tuple[str, ...]
    seconds: float


@dataclass
class Kills:
    """A warmed process with its snapshots and what runs leave that nobody kills."""

    top: Path
    variant: str = ""
    """Name of the deliberate fault (``broken``) that runs have from now on."""
    places: dict[str, Place] = field(default_factory=dict)
    like: dict[str, oracle.Seen] = field(default_factory=dict)
    """By definition."""
    looked_again: int = LOOKED_AGAIN

    def prepare(self) -> None:
        """Take the snapshots and warm up; no thread is left afterwards, so that forking is safe."""
        blank = scenes.prepare(self.top)
        scenes.warm()
        made = self._after(blank, "made", lambda place: scenes.up(scenes.order(place, "made")))
        path = made.world / "hosts" / "filed-02.json"
        path.write_text(path.read_text().replace('"data": ""', f'"data": "{oracle.DATA}"'))
        planned = self._after(made, "planned", lambda place: scenes.seal(place, "changed"))
        changed = self._after(made, "changed", lambda place: scenes.up(scenes.CHANGE.order(place)))
        fewer = self._after(blank, "fewer", lambda place: scenes.up(scenes.order(place, "fewer")))
        self.places = {"blank": blank, "made": made, "planned": planned, "changed": changed, "fewer": fewer}
        gc.collect()
        gc.freeze()
        gc.disable()  # children live for a second
        self.like = {name: oracle.read(self.places[name].top) for name in ("made", "changed", "fewer")}
        for name, seen in self.like.items():
            if wrong := oracle.judge(seen, seen, "", name):
                raise AssertionError(f"a run that nobody killed leaves {name} wrong: {wrong}")

    def _after(self, before: Place, name: str, work: Callable[[Place], Any]) -> Place:
        place = Place(self.top / name, before.fixed)
        shutil.copytree(before.top, place.top)
        scenes.furnish(place)
        report = work(place)
        if isinstance(report, dict) and report["failures"]:
            raise AssertionError(f"a run that nobody killed fails: {report['failures']}")
        return place

    @contextmanager
    def _copy(self, scene: Scene) -> Iterator[Place]:
        top = Path(tempfile.mkdtemp(dir=self.top))
        place = Place(top / "it", self.places[scene.begins].fixed)
        shutil.copytree(self.places[scene.begins].top, place.top)
        try:
            yield place
        finally:
            shutil.rmtree(top)

    def points(self, scene: Scene) -> list[str]:
        """Names of all boundaries that the scene crosses, in their order."""
        with self._copy(scene) as place:
            listed = place.top / "points"

            def work() -> None:
                boundaries.begin(boundaries.Boundaries(scene.name, listed=listed))
                scenes.up(scene.order(place))

            status, said = self._child(place, work)
            if status != 0:
                raise AssertionError(f"a run that nobody killed ended with {status}: {said}")
            return listed.read_text().split()

    def try_point(self, point: str, *, again: bool = True) -> Outcome:
        """Kill there, run again, judge; ``again``: also that the run after that has nothing to do."""
        began = time.monotonic()
        scene = SCENES[point.partition("/")[0]]
        with self._copy(scene) as place:
            wrong = list(self._wrong(scene, place, point, again=again))
        return Outcome(point, tuple(wrong), round(time.monotonic() - began, 2))

    def _wrong(self, scene: Scene, place: Place, point: str, *, again: bool) -> Iterator[str]:
        def killed() -> None:
            boundaries.begin(boundaries.Boundaries(scene.name, target=point))
            scenes.up(scene.order(place))

        def finished() -> None:
            boundaries.begin(boundaries.Boundaries(scene.name))  # none is a target; what is switched off is noted
            report = scenes.up(scene.order_after(place))
            kept = {"first": report["failures"], "changed": False}
            if again:
                second = scenes.up(scenes.order(place, scene.ends))
                kept = {"first": report["failures"] + second["failures"], "changed": second["changed"]}
            (place.top / "report.json").write_text(json.dumps(kept))

        status, said = self._child(place, killed)
        if status != -signal.SIGKILL:
            yield f"it was not killed there: status {status} {said}"
            return
        status, said = self._child(place, finished)
        if status != 0:
            yield f"the next run does not converge: status {status} {said}"
            return
        report = json.loads((place.top / "report.json").read_text())
        yield from (f"the next run fails: {each['address']}: {each['error']}" for each in report["first"])
        if report["changed"]:
            yield "the run after that changed something again"
        yield from oracle.judge(oracle.read(place.top), self.like[scene.ends], scene.name, scene.ends)

    def _child(self, place: Place, work: Callable[[], None]) -> tuple[int, str]:
        def faulty() -> None:
            if self.variant:
                broken.VARIANTS[self.variant].fault()
            work()

        return child(place, faulty)

    def check_itself(self) -> list[Outcome]:
        """What was wrong with each deliberate fault, under its name: nothing means that it was not found."""
        outcomes = []
        for name, each in broken.VARIANTS.items():
            sound = self.try_point(each.point, again=False)
            if sound.wrong:
                raise AssertionError(f"{each.point} fails without {name}: {sound.wrong}")
            self.variant = name
            found = self.try_point(each.point, again=False)
            self.variant = ""
            outcomes.append(Outcome(f"{name} at {each.point}", found.wrong, found.seconds))
        return outcomes

    def try_all(self, points: Sequence[str], *, jobs: int) -> list[Outcome]:
        """What came of all of them, so many at a time."""
        folders = []
        for number in range(jobs):
            path = self.top / f"outcomes-{number}"
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    with path.open("w") as file:
                        for place, point in list(enumerate(points))[number::jobs]:
                            outcome = self.try_point(point, again=place % self.looked_again == 0)
                            file.write(json.dumps(asdict(outcome)) + "\n")
                            file.flush()
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            folders.append((child, path))
        for child, _ in folders:
            os.waitpid(child, 0)
        told = [json.loads(line) for _, path in folders for line in path.read_text().splitlines()]
        outcomes = {each["point"]: Outcome(each["point"], tuple(each["wrong"]), each["seconds"]) for each in told}
        missing = [point for point in points if point not in outcomes]
        return [*outcomes.values(), *(Outcome(point, ("nobody tried it",), 0.0) for point in missing)]


@contextmanager
def ready() -> Iterator[Kills]:
    """A warmed process; its folder goes at the end."""
    top = Path(tempfile.mkdtemp(prefix="pachon-kills-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        kills = Kills(top)
        kills.prepare()
        yield kills
    finally:
        shutil.rmtree(top)


def kind_of(point: str) -> str:
    """Kind of boundary, for people."""
    *_, what, when = point.partition("#")[0].split("/")
    match when.partition("-")[2]:
        case "call":
            return "call of BMC, boot service or host"
        case "effect" if what.startswith(("task", "handler")):
            return "task or handler"
        case "effect":
            return "effect on a file"
        case "commit" if what in ("intent", "receipt", "life", "enrolment"):
            return "commit of the journal"
        case "commit" if what in ("acquire", "heartbeat", "release", "note-outcome"):
            return "commit of the lease"
        case "commit" if what in ("intend", "prove", "put-receipt"):
            return "commit of receipts"
        case "commit":
            return "other commit of the store"
        case "write":
            return "state of the engine"
    if "/role/" in point:
        return "begin or end of a play"
    return "begin or end of a provider's call" if what in ("create", "update", "delete") else "plan, engine, boot"


def table(outcomes: Iterable[Outcome]) -> str:
    """Numbers by kind."""
    listed = list(outcomes)
    number, bad = (
        Counter(kind_of(each.point) for each in listed),
        Counter(kind_of(each.point) for each in listed if each.wrong),
    )
    rows = [(kind, number[kind], number[kind] - bad[kind], bad[kind]) for kind in sorted(number)]
    rows.append(("in all", len(listed), sum(not each.wrong for each in listed), sum(bad.values())))
    head = ("kill points in process", "points", "passed", "failed")
    return "\n".join(f"{row[0]:<36} {row[1]:>7} {row[2]:>7} {row[3]:>7}" for row in (head, *rows))


def main() -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__)
    parser.add_argument("points", nargs="*", metavar="POINT", help="names of points, or of scenes (default: all)")
    parser.add_argument("--list", action="store_true", help="only list the points")
    parser.add_argument("--json", action="store_true", help="print outcomes as one JSON value")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="so many at a time (default 2)")
    parser.add_argument("--part", default="1/1", metavar="N/M", help="only every M-th, from the N-th on")
    parser.add_argument("--thrice", action="store_true", help="make the run after the next one at every point")
    parser.add_argument("--itself", action="store_true", help="check that deliberate faults are found")
    given = parser.parse_args()
    with ready() as kills:
        if given.itself:
            return _told(kills.check_itself(), as_json=given.json, wanted_wrong=True)
        named = given.points or list(SCENES)
        points = [each for name in named for each in (kills.points(SCENES[name]) if name in SCENES else [name])]
        first, every = map(int, given.part.split("/"))
        points = points[first - 1 :: every]
        if given.list:
            sys.stdout.write("\n".join(points) + "\n")
            return 0
        kills.looked_again = 1 if given.thrice else LOOKED_AGAIN
        return _told(kills.try_all(points, jobs=given.jobs), as_json=given.json)


def _told(outcomes: Sequence[Outcome], *, as_json: bool, wanted_wrong: bool = False) -> int:
    """Exit status, once the outcomes are printed."""
    if as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in outcomes]) + "\n")
    else:
        for each in outcomes:
            if each.wrong:
                sys.stderr.write(f"{each.point}\n    " + "\n    ".join(each.wrong) + "\n")
        sys.stdout.write(f"{table(outcomes)}\n\n{regressions.text()}\n" if not wanted_wrong else "")
    return 0 if all(bool(each.wrong) == wanted_wrong for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
