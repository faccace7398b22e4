"""One real lab of two machines whose runs are killed one after the other, and which is then reset as a whole.

Each run goes on where the last one was; the last one finishes, and after the reset the next one revives everything.
The tests share the lab, in this order.
"""

import contextlib
import json
from collections.abc import Iterator

import psutil
import pytest

from infra.lab import cgroups
from tests.e2e import making
from tests.e2e.rig import Rig, processes_with, rig
from tests.faults.points import assert_right, points

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(1200)]

NAME = "t-reset"
MAKE_UP = ("make", "up", "APT=no")
KILLED = ("lab begun", "boot service begun", "compute begun")
KILLED_IN_MAKE = "image being written"
KILLED_LAST = "volume begun"


@pytest.fixture(scope="module")
def pair() -> Iterator[Rig]:
    """A switch and a server with a volume, on a lab that does not stand yet."""
    with rig(NAME) as made:
        making.small(made.definition, name=NAME, network="198.19.116", furnished=True)
        yield made


def test_killed_again_and_again_pachon_up_and_make_up_go_on_where_the_last_run_was(pair: Rig) -> None:
    at_point = points(NAME)
    dead = [pair.kill_at(at_point[name]) for name in KILLED]
    dead.append(pair.kill_at(at_point[KILLED_IN_MAKE], argv=MAKE_UP))
    dead.append(pair.kill_at(at_point[KILLED_LAST]))
    assert len(set(dead)) == len(dead)
    pair.run(MAKE_UP)
    assert_right(pair, dead)
    report = pair.ask("up")
    assert (report["changed"], report["failures"]) == (False, [])
    assert pair.ask("status")["degraded"] == []


def test_after_a_reset_of_the_machine_the_next_up_revives_the_lab_and_images_nothing(pair: Rig) -> None:
    pair.pachon("up")
    reset(pair)
    assert processes_with(str(pair.state)) == []
    assert pair.ask("status", status=4)["degraded"]
    report = pair.ask("up")
    assert (report["failures"], report["changed"]) == ([], True)
    assert_right(pair, [])
    assert pair.ssh(making.host(NAME, 2), "findmnt -no FSTYPE /srv/landing").strip() == "btrfs"
    assert pair.ask("status")["degraded"] == []
    assert pair.ask("up")["changed"] is False


def reset(made: Rig) -> None:
    """End everything of the facility that runs, as a reset of this machine does; only files and kernel objects stay."""
    cgroups.lab(NAME).kill()
    service = psutil.Process(json.loads((made.state / "boot" / "here" / "service.json").read_text())["pid"])
    dying = [service, *service.children(recursive=True)]
    for process in dying:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(dying)
