"""``pachon up`` on a real lab of two machines, killed with its whole process group wherever it happens to be.

The run after it must finish, without a person's help, and image no machine twice without need. Points are told by the
run's own record (``S/events.jsonl``). ``make faults`` (PACHON_FAULTS=all) kills at each; otherwise a few are taken.
"""

import os
from collections.abc import Iterator

import pytest

from tests.e2e import making
from tests.e2e.rig import PACHON, Rig, at, kill, rig
from tests.faults.points import Point, assert_right, points, up_again

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(900)]

NAME = "t-kill"
SWITCH, SERVER = making.host(NAME, 1), making.host(NAME, 2)
FIRST, SECOND, THIRD = (making.serial(NAME, number) for number in (1, 2, 3))
EVERY_POINT = os.environ.get("PACHON_FAULTS") == "all"

POINTS = points(NAME)
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


if EVERY_POINT:  # otherwise test_up_reset.py kills at a few of them, one after the other

    @pytest.mark.parametrize("point", POINTS)
    def test_killed_anywhere_the_next_run_finishes_and_images_nothing_twice(point: str, pair: Rig) -> None:
        dead = pair.kill_at(POINTS[point])
        up_again(pair)
        assert_right(pair, [dead])


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
