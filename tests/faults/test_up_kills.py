"""``pachon up`` on a real lab of two machines, killed with its whole process group wherever it happens to be.

The run after it must finish, without a person's help, and image no machine twice without need. Points are told by the
run's own record (``S/events.jsonl``). ``make faults`` (PACHON_FAULTS=all) kills at each; otherwise a few are taken.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import making
from tests.e2e.rig import PACHON, Rig, Told, at, kill, processes_with, rig

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(900)]

NAME = "t-kill"
SWITCH, SERVER = making.host(NAME, 1), making.host(NAME, 2)
FIRST, SECOND, THIRD = (making.serial(NAME, number) for number in (1, 2, 3))
EVERY_POINT = os.environ.get("PACHON_FAULTS") == "all"

Point = Callable[[Told], bool]
POINTS: dict[str, Point] = {
    "images": at("images"),
    "lab begun": at("lab", state="started"),
    "lab stands": at("lab", state="done"),
    "boot service begun": at("boot", state="started"),
    "boot service stands": at("boot", address="here/boot", state="done"),
    "network begun": at("network", state="started"),
    "compute begun": at("compute", address="here", state="started"),
    "machine enrolled": at("network", address=f"machine/{FIRST}", state="done"),
    "host begun": at("compute", address=SERVER, state="started"),
    "deploy image asked for": at("compute", address=SERVER, says="booting the deploy image"),
    "deploy image fetched": at("compute", address=SERVER, state="moving", says="booting"),
    "disk partitioned": at("compute", address=SERVER, says="partition"),
    "image being written": at("compute", address=SERVER, says="image"),
    "deploy done": at("compute", address=SERVER, says="done"),
    "booting from disk": at("compute", address=SERVER, says="booting from its own disk"),
    "one host done": at("network", address=SWITCH, state="done"),
    "hosts done, state not written": at("compute", address=SERVER, state="done"),
    "network done": at("network", address="here", state="done"),
    "compute done": at("compute", address="here", state="done"),
    "storage begun": at("storage", address="here", state="started"),
    "volume begun": at("storage", address="volume/landing", state="started"),
    "volume done": at("storage", address="volume/landing", state="done"),
    "hosts begun": at("hosts", address=SWITCH, state="started"),
    "role begun": at("hosts", address=SERVER, state="moving", says="firewall"),
    "certificate given": at("hosts", address=SERVER, state="moving", says="certificates: Have"),
    "one host configured": at("hosts", address=SWITCH, state="done"),
    "hosts configured": at("hosts", address="here", state="done"),
}
CHAIN = ("lab begun", "boot service begun", "compute begun", "deploy image asked for", "volume begun")

REPLACING: dict[str, Point] = {
    "looked": at("observe", state="done"),
    "planned": at("plan", state="done"),
    "old one going": at("compute", address=SERVER, state="started", says="delete"),
    "old one gone": at("compute", address=SERVER, state="done", says="delete"),
    "new one begun": at("compute", address=SERVER, says="booting the deploy image"),
    "new one being written": at("compute", address=SERVER, says="image"),
    "new one booting": at("compute", address=SERVER, says="booting from its own disk"),
    "new one done, state not written": at("compute", address=SERVER, state="done", says="create"),
}


@pytest.fixture
def pair() -> Iterator[Rig]:
    """A switch and a server with a volume, on a lab that does not stand yet."""
    with rig(NAME) as made:
        making.small(made.definition, name=NAME, network="198.19.80", furnished=True)
        yield made


@pytest.fixture
def alone() -> Iterator[Rig]:
    """Two servers and a machine that carries none, on a lab that does not stand yet."""
    with rig(NAME) as made:
        making.small(made.definition, name=NAME, network="198.19.80", spare=1)
        yield made


def assert_right(made: Rig, dead: list[str], *, imagings: int, machines: tuple[str, ...] = (FIRST, SECOND)) -> None:
    """The facility is as defined, nothing of the dead runs lives, and no machine was imaged more often than that."""
    assert made.ssh(SERVER, "hostname; findmnt -no SOURCE /srv/landing").startswith(f"{SERVER}\n/dev/vdb")
    assert made.ssh(SWITCH, "readlink /sys/class/net/swp2/master").endswith("/br100\n")
    for run in dead:
        assert processes_with(f"PACHON_RUN_ID={run}") == []
    written = {serial: made.imagings(serial) for serial in machines}
    assert max(written.values()) <= imagings, f"imaged too often: {written}"


def up_again(made: Rig, *words: str) -> None:
    """A second run, which must finish by itself."""
    report = made.ask("up", *words)
    assert report["failures"] == []
    assert {host["done"] for host in report["hosts"]} <= {"created", "updated", "replaced", "unchanged"}


if EVERY_POINT:  # otherwise the tests below kill at a few of them

    @pytest.mark.parametrize("point", POINTS)
    def test_killed_anywhere_the_next_run_finishes_and_images_nothing_twice(point: str, pair: Rig) -> None:
        dead = pair.kill_at(POINTS[point])
        up_again(pair)
        assert_right(pair, [dead], imagings=1)


def test_make_up_killed_while_an_image_is_written_finishes_when_called_again(pair: Rig) -> None:
    make_up = ["make", "up", "APT=no"]
    dead = pair.kill_at(POINTS["image being written"], argv=make_up)
    pair.run(make_up)
    assert_right(pair, [dead], imagings=1)


def test_killed_again_and_again_each_run_goes_on_where_the_last_one_was(pair: Rig) -> None:
    dead = [pair.kill_at(POINTS[point]) for point in CHAIN]
    assert len(set(dead)) == len(CHAIN)
    up_again(pair)
    assert_right(pair, dead, imagings=1)
    report = pair.ask("up")
    assert (report["changed"], report["failures"]) == (False, [])
    assert pair.ask("status")["degraded"] == []


def test_created_killed_and_dropped_from_the_definition_is_a_destroy_that_must_be_approved(alone: Rig) -> None:
    alone.kill_at(POINTS["hosts done, state not written"])
    making.drop_host(alone.definition, SERVER)
    refused = alone.ask("up", status=5)
    assert f"here/host/{SERVER} (delete)" in refused["error"]
    assert f"pachon up --destroy here/host/{SERVER}" in refused["cure"]
    assert alone.ask("machine", "power", SECOND)["after"] == "on"
    report = alone.ask("up", "--destroy", f"here/host/{SERVER}")
    assert (report["failures"], [host["name"] for host in report["hosts"]]) == ([], [SWITCH])
    assert alone.ask("machine", "power", SECOND)["after"] == "off"
    assert (alone.imagings(FIRST), alone.imagings(SECOND)) == (1, 1)
    assert alone.ask("up")["changed"] is False


@pytest.mark.parametrize("point", REPLACING if EVERY_POINT else ["new one being written"])
def test_killed_in_the_middle_of_a_replacement_the_next_run_finishes_it(point: str, alone: Rig) -> None:
    alone.pachon("up")
    making.alter_host(alone.definition, SERVER, machine=THIRD)
    approval = ("--destroy", f"here/host/{SERVER}")
    running = alone.start_until(REPLACING[point], [PACHON, "up", *approval])
    held = alone.ask("up", status=5)
    assert f"(process {running.pid})" in held["error"]
    assert "being written to by" in held["error"] and "since" in held["error"]
    kill(running)
    up_again(alone, *approval)
    assert alone.ssh(SERVER, "hostname; cat /etc/pachon/stamp.json").startswith(SERVER)
    assert alone.ask("machine", "power", SECOND)["after"] == "off"
    assert [alone.imagings(serial) for serial in (FIRST, SECOND, THIRD)] == [1, 1, 1]
    assert alone.ask("up")["changed"] is False
