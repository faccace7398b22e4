"""Runs of the engine killed at boundaries told by their own events; the world's files are the oracle."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from infra.provider import orphans
from pachon.drivers.pulumi import locks
from pachon.errors import LeaseHeldError, RefusedError
from pachon.model.stamp import Stamp
from pachon.store.lease import acquire
from tests.worlds import World, facility, make_world, pulumi_cli, without_hosts

pytestmark = pytest.mark.faults

CONTROLLER = """
import asyncio, json, sys
from pathlib import Path
from tests.worlds import World, facility
folder, hosts, version, pulumi = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
world = World(facility(hosts=hosts), folder / "world", folder / "state", pulumi)
lease = world.acquire()
print("leased", flush=True)
def show(event):
    print(event.address.rpartition("/")[2], event.state, event.message, flush=True)
from dataclasses import replace
engine = replace(world.engine(lease), progress=show)
result = asyncio.run(engine.up(world.stack(version=version)))
print("over", result.changes, flush=True)
"""

EVERY_POINT = os.environ.get("PACHON_FAULTS") == "all"
CREATING = [
    "leased",
    "S0001 started",
    "S0002 done",
    "base-h001 started",
    "base-h002 moving booting the deploy image",
    "base-h001 moving writing the image",
    "base-h001 moving booting from its own disk",
    "base-h001 done",
    "base-h002 done",
]
REPLACING = ["base-h001 started delete", "base-h001 done delete", "base-h001 moving writing the image"]
CREATING_NOW = CREATING if EVERY_POINT else CREATING[1::2]
REPLACING_NOW = REPLACING if EVERY_POINT else REPLACING[1:]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path, facility(hosts=2), pulumi_cli())
    world.settings(latency={"deploy": 0.4, "boot": 0.2, "inspect": 0.02})
    return world


def killed_at(world: World, words: str, *, version: int = 1) -> bool:
    """Whether a controller in a process group of its own said these words and was killed for it, with its children."""
    folder = world.folder.parent
    arguments = [str(folder), "2", str(version), str(world.pulumi)]
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    said = False
    for line in process.stdout:
        if line.startswith(words):
            said = True
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return said


def finish(world: World, *, version: int = 1) -> dict[str, int]:
    """What a second run did; it took the lease over by itself."""
    lease = world.acquire()
    result = asyncio.run(world.engine(lease).up(world.stack(version=version)))
    result.raise_if_failed("second run")
    world.release(lease)
    return result.changes


def assert_right(world: World, *, version: int, images_written: int) -> None:
    """The oracle: each machine is on, carries the right stamp in both places, and was written so often at most."""
    for resource in world.stack(version=version).resources:
        if "/host/" in resource.address:
            found = world.serial(int(resource.inputs["serial"][1:]))
            stamp = f"{resource.address}@{resource.generation}"
            assert (found["asset_tag"], found["stamp"], found["on"]) == (stamp, stamp, True)
            assert found["images_written"] <= images_written, f"{resource.address} was written too often"


@pytest.mark.parametrize("words", CREATING_NOW)
def test_killed_while_creating_the_next_run_finishes_and_images_nothing_twice(words: str, world: World) -> None:
    assert killed_at(world, words)
    finish(world)
    assert_right(world, version=1, images_written=1)


@pytest.mark.parametrize("words", REPLACING_NOW)
def test_killed_in_the_middle_of_a_replacement_the_next_run_finishes_it(words: str, world: World) -> None:
    finish(world)
    assert killed_at(world, words, version=2)
    finish(world, version=2)
    assert_right(world, version=2, images_written=2)


def test_created_killed_and_dropped_from_the_definition_becomes_a_planned_destroy(world: World) -> None:
    assert killed_at(world, "base-h002 done")
    smaller = world.of(without_hosts(world.facility, "base-h002"))
    lease = smaller.acquire()
    engine = smaller.engine(lease)
    result = asyncio.run(engine.up(smaller.stack()))
    result.raise_if_failed("second run")
    in_state = [
        Stamp(address=each.address, generation=each.generation) for each in asyncio.run(engine.export(smaller.stack()))
    ]
    run = engine.run_file(smaller.stack())
    (orphan,) = asyncio.run(orphans.find(run, in_state=in_state))
    action = orphan.as_action()
    assert (action.address, action.verb) == ("base/host/base-h002", "delete")
    with pytest.raises(RefusedError, match="approved has no 'delete'"):
        asyncio.run(orphans.destroy(run.model_copy(update={"allowed": ()}), orphan))
    assert world.serial(2)["on"] is True
    asyncio.run(orphans.destroy(run, orphan))
    assert (world.serial(2)["on"], world.serial(2)["asset_tag"]) == (False, "")
    assert asyncio.run(orphans.find(run, in_state=in_state)) == []
    world.release(lease)


def test_a_lock_is_cleared_only_when_its_owner_is_proven_dead(world: World) -> None:
    finish(world)
    folder = world.state / "pulumi" / ".pulumi" / "locks" / "organization" / "pachon-compute" / "filed-base"
    folder.mkdir(parents=True, exist_ok=True)
    living = subprocess.Popen([str(world.pulumi), "version"], stdout=subprocess.PIPE)
    living.wait()
    lock = {"pid": living.pid, "username": "x", "hostname": os.uname().nodename, "timestamp": "2026-11-27T12:00:00Z"}
    path = folder / "0f0f0f0f.json"
    path.write_text(json.dumps({**lock, "hostname": "elsewhere"}))
    lease = world.acquire()
    with pytest.raises(RefusedError, match="locked by x@elsewhere"):
        asyncio.run(world.engine(lease).up(world.stack()))
    path.write_text(json.dumps(lock))
    result = asyncio.run(world.engine(lease).up(world.stack()))
    result.raise_if_failed("with a stale lock")
    assert not path.exists()
    world.release(lease)


def test_a_lock_of_a_living_engine_stands(world: World, tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.write_bytes(Path("/bin/sleep").read_bytes())
    engine.chmod(0o755)
    living = subprocess.Popen([str(engine), "600"])
    backend = tmp_path / "backend"
    folder = backend / ".pulumi" / "locks" / "organization" / "p" / "s"
    folder.mkdir(parents=True)
    lock = {"pid": living.pid, "username": "x", "hostname": os.uname().nodename, "timestamp": "t"}
    (folder / "a.json").write_text(json.dumps(lock))
    try:
        with pytest.raises(RefusedError, match=f"process {living.pid}"):
            locks.stale(backend, "p", "s")
    finally:
        living.kill()
        living.wait()
    assert locks.stale(backend, "p", "s") is True


def test_when_only_the_controller_dies_its_engine_ends_too_and_a_second_writer_waits_till_then(world: World) -> None:
    folder = world.folder.parent
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, str(folder), "2", "1", str(world.pulumi)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("base-h001 moving"):
            break
    with pytest.raises(LeaseHeldError):
        acquire(world.store, "base", facility="filed", command="second")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    finish(world)
    assert_right(world, version=1, images_written=1)
    left = replace(world).state / "pulumi"
    deadline = time.monotonic() + 60
    while processes_using(left) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_using(left) == []


def processes_using(folder: Path) -> list[int]:
    """Processes whose environment names that folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if str(folder).encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
    return found
