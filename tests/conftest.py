"""What holds for all tests: which are not run here and why, and that tests of real labs leave nothing behind.

A test marked ``real`` needs root and the kernel features of the lab. Where something is missing it is deselected and
named at the end of the run with what is missing. Where such tests run, the namespaces, links, loop devices, mounts and
control groups of the machine are compared before and after the session. What belongs to a lab that stood before, or to
one of a person (/run/pachon says whose each is), is no matter of ours.

Names of labs that begin with ``t-`` are for tests, and one test session of real labs runs at a time on a machine: the
next one waits for it, then clears away what a session that was killed had left.
"""

import asyncio
import fcntl
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import pytest

NOT_RUN = pytest.StashKey[list[tuple[str, str]]]()
BEFORE = pytest.StashKey[dict[str, set[str]]]()
LABS_BEFORE = pytest.StashKey[dict[str, str]]()
LEFT = pytest.StashKey[list[str]]()
TURN = pytest.StashKey[object]()
"""The open file whose lock says that this session has the machine's labs."""
SETTLE_SECONDS = 10
TESTS_PREFIX = "t-"


def what_is_missing() -> list[str]:
    from infra.lab import instance

    return instance.missing()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    real = [item for item in items if item.get_closest_marker("real") is not None]
    if not real:
        return
    if missing := "; ".join(what_is_missing()):
        config.stash[NOT_RUN] = [(item.nodeid, missing) for item in real]
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if item not in real]
    elif not config.option.collectonly:
        wait_for_turn(config)
        clear_leftovers()
        config.stash[BEFORE] = seen(config)
        config.stash[LABS_BEFORE] = labs_on_record()


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
