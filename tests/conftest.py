"""What holds for all tests: which are not run here and why, and that tests of real labs leave nothing behind.

A test marked ``real`` needs root and the kernel features of the lab. Where something is missing it is deselected and
named at the end of the run with what is missing. Where such tests run, the namespaces, links, loop devices, mounts and
control groups of the machine are compared before and after the session. What belongs to a lab that stood before, or to
one of a person (/run/pachon says whose each is), is no matter of ours.

Names of labs that begin with ``t-`` are for tests, and one test session of real labs runs at a time on a machine: the
next one waits for it, then clears away what a session that was killed had left.

Where pytest-xdist runs workers (``make test``), the process that directs them does all of this for them, and bakes the
images before they begin, so that no test's time limit counts it. Without workers it is done once a test is ``real``.
"""

import asyncio
import fcntl
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

ORDER = ("e2e", "faults", "lab", "stacks", "scale")
"""Kinds that workers take first: the longest begin early, and the many short ones fill the gaps at the end."""
SHIPPED_LAB = "tests/e2e/"
"""Tests that need every image, and bring up labs too large for two at a time."""
MISSING, NOTE = "missing_for_labs", "note_of_labs"
"""What workers are told: what this machine lacks, and the file to make once a test is real."""
NOT_RUN_THERE = "not_run"
"""What workers tell at their end."""
NOT_RUN = pytest.StashKey[list[tuple[str, str]]]()
BEFORE = pytest.StashKey[dict[str, set[str]]]()
LABS_BEFORE = pytest.StashKey[dict[str, str]]()
LEFT = pytest.StashKey[list[str]]()
TURN = pytest.StashKey[object]()
"""The open file whose lock says that this session has the machine's labs."""
SETTLE_SECONDS = 30
TESTS_PREFIX = "t-"


def what_is_missing() -> list[str]:
    from infra.lab import instance

    return instance.missing()


def told_by_director(config: pytest.Config) -> dict[str, Any] | None:
    """What the process that directs this worker told it; None where tests run in one process."""
    return getattr(config, "workerinput", None)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker the same: they must all collect the same tests."""
    node.workerinput[MISSING] = what_is_missing()
    node.workerinput[NOTE] = str(note(node.config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who hands out tests to workers: the tests of a file go to one of them, and so do all of the shipped lab."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # xdist ships no types

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # see above
        def _split_scope(self, nodeid: str) -> str:
            return SHIPPED_LAB if nodeid.startswith(SHIPPED_LAB) else str(super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Prepare for labs once a worker has collected real tests: none is run before this returns."""
    if note(node.config).exists() and BEFORE not in node.config.stash:
        prepare(node.config)
        if any(name.startswith(SHIPPED_LAB) for name in ids):
            bake_images()


def note(config: pytest.Config) -> Path:
    """File by which workers say that they collected real tests."""
    return Path(config._tmp_path_factory.getbasetemp()) / "labs"  # type: ignore[attr-defined]  # no public way to it


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Learn from a worker what was not run (a dead one tells nothing)."""
    if told := getattr(node, "workeroutput", {}).get(NOT_RUN_THERE):
        node.config.stash[NOT_RUN] = [(name, missing) for name, missing in told]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    told = told_by_director(config)
    if told is not None:
        items.sort(key=place_of)
    real = [item for item in items if item.get_closest_marker("real") is not None]
    if not real:
        return
    if missing := "; ".join(what_is_missing() if told is None else told[MISSING]):
        config.stash[NOT_RUN] = [(item.nodeid, missing) for item in real]
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if item not in real]
    elif told is not None:
        Path(told[NOTE]).touch()
    elif not config.option.collectonly:
        prepare(config)


def place_of(item: pytest.Item) -> int:
    """Number of a test's kind in the order in which workers take them."""
    kind = item.nodeid.split("/")[1]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def prepare(config: pytest.Config) -> None:
    """Wait for our turn, clear away what others left, and remember what there is."""
    wait_for_turn(config)
    clear_leftovers()
    config.stash[BEFORE] = seen(config)
    config.stash[LABS_BEFORE] = labs_on_record()


def bake_images() -> None:
    """Bake what the shipped lab starts from, telling what is done; where that fails, its tests will say why."""
    from infra.image import bake
    from pachon import definition, places
    from pachon.errors import PachonError
    from pachon.progress import Event

    def tell(event: Event) -> None:
        if event.state == "done":
            sys.stderr.write(f"before the tests: {event.address}: {event.message}\n")

    lab = definition.load(definition.find("lab"))
    for flavour in sorted({host.flavour for host in lab.hosts}):
        try:
            bake.ensure(flavour, cache=places.cache(), progress=tell)
        except PachonError as error:
            sys.stderr.write(f"before the tests: {error}\n")


def wait_for_turn(config: pytest.Config) -> None:
    """Return when no other session tests real labs here; the lock goes with this process."""
    file = (Path(tempfile.gettempdir()) / "pachon-tests.lock").open("w")
    config.stash[TURN] = file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write("waiting for another session that tests labs on this machine\n")
        fcntl.flock(file, fcntl.LOCK_EX)


def clear_leftovers() -> None:
    """Take down the labs of test sessions that are no more."""
    from infra.lab import instance
    from pachon.progress import silent

    for facility, state in labs_on_record().items():
        if facility.startswith(TESTS_PREFIX):
            sys.stderr.write(f"clearing away the lab {facility} of an earlier test session\n")
            # The record names the state's own folder of this facility.
            asyncio.run(instance.down(facility, state=Path(state), progress=silent))


def seen(config: pytest.Config) -> dict[str, set[str]]:
    """What labs are made of, as it is on this machine now, by kind."""
    groups = Path("/sys/fs/cgroup")
    basetemp = str(config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]  # no public way to it
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return {
        "network namespace": {path.name for path in Path("/run/netns").glob("*")},
        "link": {path.name for path in Path("/sys/class/net").glob("pl*")},
        "loop device": {
            f"{path.name} on {backing}" for path in Path("/sys/block").glob("loop*") if (backing := backing_file(path))
        },
        "mount": {point for point in mounts if "pachon" in point or point.startswith(basetemp)},
        "control group": {
            path.name
            for pattern in ("pachon-lab/*", "*/pachon-lab/*")
            for path in groups.glob(pattern)
            if path.is_dir()
        },
    }


def backing_file(loop: Path) -> str:
    """File behind a loop device; empty for one that is free or just going."""
    try:
        return (loop / "loop" / "backing_file").read_text().strip()
    except OSError:
        return ""


def labs_on_record() -> dict[str, str]:
    """State folder of each lab of this machine by facility."""
    found = {}
    for path in Path("/run/pachon").glob("*.json"):
        try:
            record = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        found[str(record["facility"])] = str(record["state"])
    return found


def is_ours(state: str, basetemp: Path) -> bool:
    """Whether a lab with that state folder is one of this session; tests keep theirs in basetemp or in ``/tmp/t-…``."""
    return state.startswith((f"{basetemp}/", f"{Path(tempfile.gettempdir()).resolve()}/t-"))


def belongs(name: str, others: dict[str, str]) -> bool:
    """Whether a thing is part of one of these labs."""
    return any(
        name == facility
        or name.startswith((f"{facility}-", f"{facility}."))
        or name == "pl" + hashlib.sha1(facility.encode(), usedforsecurity=False).hexdigest()[:6]
        or state in name
        for facility, state in others.items()
    )


def left_behind(config: pytest.Config) -> list[str]:
    """What is there now and was not before, once things had time to go."""
    before = config.stash[BEFORE]
    basetemp = Path(config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]  # no public way to it
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        others = config.stash[LABS_BEFORE] | {
            facility: state for facility, state in labs_on_record().items() if not is_ours(state, basetemp)
        }
        left = [
            f"{kind} {name}"
            for kind, names in seen(config).items()
            for name in sorted(names - before[kind])
            if not belongs(name, others)
        ]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.2)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if told_by_director(config) is not None:
        config.workeroutput[NOT_RUN_THERE] = config.stash.get(NOT_RUN, [])  # type: ignore[attr-defined]  # by xdist
    if BEFORE not in config.stash:
        return
    config.stash[LEFT] = left_behind(config)
    if config.stash[LEFT] and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not_run := config.stash.get(NOT_RUN, []):
        terminalreporter.section(f"{len(not_run)} tests not run here", yellow=True)
        for name, missing in not_run:
            terminalreporter.write_line(f"not run here: {name}: {missing}")
    if left := config.stash.get(LEFT, []):
        terminalreporter.section("left behind by tests of real labs", red=True)
        for name in left:
            terminalreporter.write_line(f"left behind: {name}")
