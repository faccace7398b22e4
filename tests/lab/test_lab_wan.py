"""Links between the sites of a lab, for real: delay, cuts, dead processes; and a site that is cut off."""

import asyncio
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from infra.lab import alive, cgroups, faults, forwarder, instance, stock
from infra.lab.power import LabHardware
from pachon.errors import UsageError
from pachon.model.facility import Cable, Facility, Link
from pachon.progress import Event
from tests.lab import labs, tiny, workbench

pytestmark = pytest.mark.real

NAME = "t-lab-wan"
DELAY_MS = 40
BLOCKS = {"base": 36, "archive": 37}
PATIENCE_SECONDS = 120.0
ANSWER = """
ip addr add 198.19.38.{number}/29 dev eth1
ip link set eth1 up
"""
ASK = """
(while true; do ping -c 1 -W 1 198.19.38.2 | grep time= || echo tiny: silence; sleep 0.2; done) &
"""


@dataclass(frozen=True)
class Far:
    """Two sites with a machine each, and a link between them."""

    facility: Facility
    state: Path

    @property
    def console(self) -> Path:
        """Where the machine at base says what it hears of the other."""
        return stock.machines_folder(self.state) / "T36N1" / "console.log"

    def hears(self, text: str) -> str:
        """The first line with this text that the machine at base says from now on, but for one that was under way."""
        end = time.monotonic() + PATIENCE_SECONDS
        known = len(self.console.read_text(errors="replace"))
        while True:
            lines = [line for line in self.console.read_text(errors="replace")[known:].splitlines() if text in line]
            if len(lines) > 1:
                return lines[1]
            assert time.monotonic() < end, f"it never said {text!r}"
            time.sleep(0.05)

    def up(self) -> Event:
        """What ``up`` told last."""
        events: list[Event] = []
        asyncio.run(instance.up(self.facility, state=self.state, progress=events.append))
        return events[-1]

    def status(self) -> instance.LabStatus:
        """The lab as it is."""
        return asyncio.run(instance.status(NAME, state=self.state))

    def bmc_answers(self) -> bool:
        """Whether the controller reaches the archive."""
        address = self.facility.site("archive").machines[0].bmc_address
        with closing(socket.socket()) as door:
            door.settimeout(2)
            return door.connect_ex((str(address), 443)) == 0


def _facility() -> Facility:
    sites = []
    for site, block in BLOCKS.items():
        cable = Cable(machine=f"T{block}N1", nic="eth1", switch="far", port=site)
        alone = labs.facility(NAME, block, machines=(labs.machine(block, 1, site=site, nics=2),), cables=(cable,))
        sites.append(alone.sites[0].model_copy(update={"name": site}))
    link = Link(name="far", sites=("base", "archive"), rate_mbps=100, delay_ms=DELAY_MS)
    return alone.model_copy(update={"prefix": IPv4Network("198.19.36.0/22"), "sites": tuple(sites), "links": (link,)})


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    made = Far(_facility(), tmp_path_factory.mktemp("wan") / NAME)
    folder = stock.machines_folder(made.state)
    hardware = LabHardware(made.facility.machines, facility=NAME, folder=folder)
    try:
        made.up()
        for number, serial in ((2, "T37N1"), (1, "T36N1")):
            script = ANSWER.format(number=number) + (ASK if number == 1 else "")
            tiny.write_disk(made.state, folder / serial / "disks" / "sda.img", script=script)
            asyncio.run(hardware.power_on(serial))
        yield made
    finally:
        workbench.down(made.facility, made.state)


def test_the_other_site_answers_after_twice_the_delay(far: Far) -> None:
    found = re.search(r"time=([\d.]+) ms", far.hears("time="))
    assert found is not None
    assert float(found[1]) >= 2 * DELAY_MS
    (link,) = far.status().links
    assert (link.name, link.cut, link.delay_ms) == ("far", False, DELAY_MS)
    assert far.up().state == "unchanged"


def test_a_cut_link_is_silent_until_it_is_mended(far: Far) -> None:
    faults.cut_link(far.facility, "far")
    far.hears("silence")
    assert "link far is cut" in far.status().problems
    faults.mend_link(far.facility, "far")
    far.hears("time=")
    assert far.status().up


def test_up_mends_what_was_cut_and_says_so(far: Far) -> None:
    faults.cut_link(far.facility, "far")
    faults.cut_site(far.facility, "archive")
    told = far.up()
    assert told.state == "done"
    assert "mended link far, which was cut" in told.message
    assert "mended the way to site archive, which was cut off" in told.message
    far.hears("time=")


def test_a_site_that_is_cut_off_hears_neither_other_sites_nor_the_controller(far: Far) -> None:
    assert far.bmc_answers()
    faults.cut_site(far.facility, "archive")
    faults.cut_site(far.facility, "archive")
    far.hears("silence")
    assert not far.bmc_answers()
    assert {site.name: site.cut_off for site in far.status().sites} == {"base": False, "archive": True}
    faults.mend_site(far.facility, "archive")
    far.hears("time=")
    assert far.bmc_answers()


def test_a_link_that_was_cut_stays_so_when_its_site_is_let_in_again(far: Far) -> None:
    faults.cut_link(far.facility, "far")
    faults.cut_site(far.facility, "base")
    faults.mend_site(far.facility, "base")
    assert far.status().links[0].cut
    faults.mend_link(far.facility, "far")
    far.hears("time=")


def test_a_link_whose_process_was_killed_is_told_and_revived(far: Far) -> None:
    lock = forwarder.lock_path(far.state / "lab" / "links" / "far.json")
    assert alive.send(lock, signal.SIGKILL)
    cgroups.link(NAME, "far").kill()
    assert far.status().problems == ("link far carries nothing",)
    assert "started link far" in far.up().message
    far.hears("time=")


def test_what_is_not_there_cannot_be_cut(far: Far) -> None:
    with pytest.raises(UsageError, match="no link 'fra'") as refused:
        faults.cut_link(far.facility, "fra")
    assert "far" in refused.value.cure
    with pytest.raises(UsageError, match="no site 'achive'"):
        faults.cut_site(far.facility, "achive")
