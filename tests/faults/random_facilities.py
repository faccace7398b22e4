"""Random small facilities, made and changed on files with a fault anywhere, for ``python -m``.

Each example is a facility and a change of it. Somewhere in one of the two runs something happens: the process is
killed, a call fails in a way that passes, or one fails for good until somebody mends it. The next run, which may be
that of the change already, must end in its definition, have an empty plan behind it, and have done nothing before what
it needs.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pachon import definition
from pachon.errors import PermanentError, TemporaryError
from tests.e2e import making
from tests.faults import boundaries, oracle, scenes
from tests.faults.kills import MEMORY, child
from tests.faults.scenes import Place

MACHINES = 6
CARRIER = 2
"""Number of the host that has a volume where there is a switch."""
NAME = "drawn"
FAULTS = ("kill", "temporary", "permanent")


@dataclass(frozen=True)
class Drawn:
    """A facility: on which machine each host is, and what else there is."""

    machine_by_host: Mapping[int, int]
    """By number; host 1 is the switch where there is one."""
    furnished: bool
    """Whether machine 1 is a switch that the others boot through, and host 2 has a volume."""
    size_gib: int
    people: bool

    @property
    def carries(self) -> dict[str, str]:
        """Host by serial, as the oracle wants it."""
        return {making.serial(NAME, machine): making.host(NAME, host) for host, machine in self.machine_by_host.items()}


@st.composite
def facilities(draw: st.DrawFn) -> tuple[Drawn, Drawn]:
    """A facility and what becomes of it."""
    furnished: bool = draw(st.booleans())
    fixed = [1, 2] if furnished else []
    numbers = list(range(len(fixed) + 1, MACHINES + 1))
    others = draw(st.lists(st.sampled_from(numbers), unique=True, max_size=3))
    hosts = fixed + sorted(others)
    before = Drawn({host: host for host in hosts}, furnished, 1, people=False)
    fates = {host: draw(st.sampled_from(["keep", "move", "drop"])) for host in others}
    if furnished:
        fates[CARRIER] = draw(st.sampled_from(["keep", "drop"]))
    after = {host: host for host in hosts if fates.get(host, "keep") == "keep"}
    coming = [host for host, fate in fates.items() if fate == "move"]
    one_more: bool = draw(st.booleans())
    if one_more:
        coming.append(MACHINES + 1)
    free = [number for number in range(1, MACHINES + 1) if number not in after]
    after |= dict(zip(coming, draw(st.permutations(free)), strict=False))  # also onto a machine that another leaves
    return before, Drawn(after, furnished, draw(st.sampled_from([1, 2])), draw(st.booleans()))


@dataclass(frozen=True)
class Fault:
    """What happens, and at which boundary, counted from the first."""

    kind: str
    at: int
    changing: bool
    """Whether it happens in the change, and not in the making."""
    abandoned: bool
    """Whether a making that it happens in is not finished before the change."""


FAULT = st.builds(Fault, st.sampled_from(FAULTS), st.integers(1, 220), st.booleans(), st.booleans())


def write(drawn: Drawn, folder: Path) -> None:
    """The definition."""
    making.small(folder, name=NAME, network="198.19.60", containers=MACHINES, furnished=drawn.furnished)
    path = folder / "sites" / "here" / "site.yaml"
    kept = []
    for line in path.read_text().splitlines():
        number = next((n for n in range(1, MACHINES + 1) if f"- {{name: {making.host(NAME, n)}," in line), 0)
        if not number:
            kept.append(line.replace("size_gib: 1", f"size_gib: {drawn.size_gib}"))
        for host, machine in drawn.machine_by_host.items():
            if (number == machine and host > MACHINES) or number == host:
                text = line.replace(making.host(NAME, number), making.host(NAME, host))
                text = text.replace(f".{10 + number},", f".{10 + host},")
                kept.append(text.replace(making.serial(NAME, number), making.serial(NAME, machine)))
    text = "\n".join(kept) + "\n"
    if drawn.furnished and CARRIER not in drawn.machine_by_host:
        text = text.partition("storage_pools:\n")[0]
    path.write_text(text if drawn.machine_by_host else text.replace("hosts:\n", "hosts: []\n"))
    if drawn.people:
        with (folder / "facility.yaml").open("a") as file:
            file.write(scenes.PEOPLE)


def imaged(*drawn: Drawn) -> dict[str, int]:
    """How many hosts one after the other each machine has, by serial."""
    serials = {serial for each in drawn for serial in each.carries}
    return {serial: len({each.carries[serial] for each in drawn if serial in each.carries}) for serial in serials}


def destroyed(before: Drawn, after: Drawn) -> frozenset[str]:
    """Addresses that the change replaces or removes."""
    gone = {
        host for host, machine in before.machine_by_host.items() if after.machine_by_host.get(host, machine) != machine
    }
    gone |= before.machine_by_host.keys() - after.machine_by_host.keys()
    others = {"here/volume/landing"} if before.furnished and CARRIER in gone else set()
    others |= {f"here/network/{name}" for name in ("lone", "management") if before.furnished}
    return frozenset({f"here/host/{making.host(NAME, host)}" for host in gone} | others)


def strike(fault: Fault) -> None:
    """Have this process meet the fault."""
    met = [0]

    def hit(name: str) -> None:
        met[0] += 1
        if met[0] != fault.at and not (fault.kind == "permanent" and met[0] > fault.at):
            return
        if fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name.endswith("/before-call"):
            kind = TemporaryError if fault.kind == "temporary" else PermanentError
            raise kind(f"told to fail at {name}", cure="mend it")

    class Counting(boundaries.Boundaries):
        def __call__(self, name: str) -> None:
            if fault.kind == "kill" or name.endswith("/before-call"):
                hit(name)

    boundaries.begin(Counting(NAME))


def run_through(before: Drawn, after: Drawn, fault: Fault) -> list[str]:
    """What is wrong with this example."""
    top = Path(tempfile.mkdtemp(prefix="pachon-drawn-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        place = Place(top / "it", top / "fixed")
        for name, drawn in (("made", before), ("changed", after)):
            write(drawn, place.definition(name))
        scenes.seed(place, definition.load(place.definition("made")))
        wrong = _through(place, "made", (before,), frozenset(), None if fault.changing else fault)
        destroy = destroyed(before, after) & scenes.begun(place)
        return wrong or _through(place, "changed", (before, after), destroy, fault if fault.changing else None)
    finally:
        shutil.rmtree(top)


def _through(
    place: Place, name: str, drawn: Sequence[Drawn], destroy: frozenset[str], fault: Fault | None
) -> list[str]:
    """What is wrong after runs to the last of these, which come one after the other."""
    wanted = scenes.order(place, name, destroy=destroy)

    def struck() -> None:
        if fault is not None:
            strike(fault)
        scenes.up(wanted)

    def finished() -> None:
        report = scenes.up(wanted)
        plans = [scenes.seal(place, name) for _ in range(2)]
        told = [f"{each['address']}: {each['error']}" for each in report["failures"]]
        if plans[0].pending:
            told.append(f"the plan of what was applied is not empty: {plans[0].waves} {plans[0].envelopes}")
        if plans[0] != plans[1]:
            told.append("two plans of the same are not the same")
        (place.top / "report.json").write_text(json.dumps(told))

    if fault is not None:
        status, said = child(place, struck)
        if status not in (0, -signal.SIGKILL) and "told to fail" not in said:
            return [f"the run that meets {fault} ends with {status}: {said}"]
        if fault.abandoned and not fault.changing:
            return []
    status, said = child(place, finished)
    if status != 0:
        return [f"the run after {fault} ends with {status}: {said}"]
    wrong = list(json.loads((place.top / "report.json").read_text()))
    wrong += too_early(place)
    return wrong + oracle.judge_plainly(oracle.read(place.top), drawn[-1].carries, imaged=imaged(*drawn))


def too_early(place: Place) -> list[str]:
    """Actions of the last run's plan that began before what they need was done, by the record of its events."""
    events = [json.loads(line) for line in (place.state / "events.jsonl").read_text().splitlines()]
    events = [event for event in events if event["run"] == events[-1]["run"]]
    sealed = next(
        (event["message"] for event in events if event["stage"] == "plan" and "sealed" in event["message"]), ""
    )
    paths = [path for path in (place.state / "plans").glob("*.json") if sealed and path.stem[:12] in sealed]
    actions = [each for path in paths for wave in json.loads(path.read_text())["waves"] for each in wave["actions"]]
    began: dict[str, int] = {}
    done: dict[str, int] = {}
    going = {action["address"] for action in actions if action["verb"] == "delete"}
    for number, event in enumerate(events):
        if event["stage"] == "plan" and event["address"] not in going:
            continue  # it makes way for another; it is made where it is to be later
        if event["state"] == "started" and event["stage"] != "hosts":
            began.setdefault(event["address"], number)
        if event["state"] == "started" and event["stage"] == "hosts":
            began.setdefault(event["address"] + "/role", number)
        if event["state"] == "done" and event["stage"] != "hosts":
            known = done.get(event["address"], number)  # what is gone is found gone by the engine once more
            done[event["address"]] = known if event["address"] in going else number
    hardware = {each["address"] for each in actions if each["layer"] == "hardware"}
    return [
        f"{action['address']} began before {need} was done"
        for action in actions
        for need in action["needs"]
        if need in hardware and need != action["address"]
        if (start := began.get(_begins(action["address"]))) is not None and start < done.get(need, start + 1)
    ]


def _begins(address: str) -> str:
    host, is_role, _ = address.partition("/role/")
    return f"{host}/role" if is_role else address


def search(examples: int, *, randomly: bool) -> None:
    """Nothing, if no example is wrong.

    Raises:
        AssertionError: one is; Hypothesis has told the smallest that it found.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=not randomly,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    @given(facilities(), FAULT)
    def example(drawn: tuple[Drawn, Drawn], fault: Fault) -> None:
        wrong = run_through(*drawn, fault)
        assert not wrong, "\n".join(wrong)

    example()


def warm_up() -> None:
    """Have everything imported that a run needs; no thread is left afterwards."""
    top = Path(tempfile.mkdtemp(prefix="pachon-drawn-"))
    scenes.warm()
    place = scenes.prepare(top)
    scenes.furnish(place)
    scenes.up(scenes.order(place, "made"))
    shutil.rmtree(top)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.random_facilities", description=__doc__)
    parser.add_argument("--examples", type=int, default=20, metavar="N", help="so many (default 20)")
    parser.add_argument("--randomly", action="store_true", help="others each time, not always the same")
    given_ = parser.parse_args(argv)
    warm_up()
    search(given_.examples, randomly=given_.randomly)
    sys.stdout.write(f"{given_.examples} random facilities: each ended in its definition\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
