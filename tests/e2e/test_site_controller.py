"""Each site's own controller, with every way out of the site cut: it is asked from the site's own floor."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.lab import instance
from pachon.errors import ExitCode
from tests.e2e.shipped import Copy

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
SITE = "archive"


@pytest.fixture(scope="module")
def cut(copy: Copy) -> Iterator[Copy]:
    """The lab, one site of which is cut off from the links and from the seed."""
    copy.pachon("lab", "site", "cut", SITE)
    try:
        yield copy
    finally:
        copy.pachon("lab", "site", "mend", SITE)


def on_the_floor(copy: Copy, host: str, *words: str, status: int = 0) -> str:
    """What a command on a host printed, for somebody who stands at the site."""
    place = instance.place(copy.facility, SITE)
    return copy.rig.run([*place, "ssh", "-F", str(copy.rig.state / "ssh_config"), host, *words], status=status).out


def at(copy: Copy, group: str) -> str:
    return next(host.name for host in copy.facility.site(SITE).active_hosts if group in host.groups)


def own(copy: Copy, *words: str, status: int = 0) -> Any:
    """What the site's own controller answers."""
    argv = ("sudo", "pachon", "--json", "--site", SITE, *words)
    return json.loads(on_the_floor(copy, at(copy, "admin"), *argv, status=status))


def test_a_site_that_is_cut_off_knows_how_it_is(cut: Copy) -> None:
    found = own(cut, "status", "--wait", "60", status=ExitCode.DEGRADED)
    (site,) = found["sites"]
    wanted = {host.name for host in cut.facility.site(SITE).active_hosts}
    assert {host["name"] for host in site["hosts"] if host["up"]} == wanted
    assert {host["power"] for host in site["hosts"] if host["defined"] == "active"} == {"on"}
    assert [each for each in found["degraded"] if "link" not in each and "boot service" not in each] == []


def test_its_own_controller_verifies_hosts_and_asks_machines(cut: Copy) -> None:
    batch = at(cut, "slurm_compute")
    assert own(cut, "verify", batch)["outcomes"]
    serial = next(host.machine for host in cut.facility.site(SITE).hosts if host.name == batch)
    assert own(cut, "machine", "show", serial)


def test_names_batch_and_logins_go_on_there(cut: Copy) -> None:
    batch, storage = at(cut, "slurm_compute"), at(cut, "storage")
    address = str(next(host.address for host in cut.facility.hosts if host.name == storage))
    assert address in on_the_floor(cut, batch, "getent", "hosts", storage)
    assert "idle" in on_the_floor(cut, at(cut, "slurm_controller"), "sinfo", "--noheader", "--format=%T")
    done = on_the_floor(cut, at(cut, "slurm_controller"), "sudo", "-u", "campaign", "srun", "hostname")
    assert done.strip() in {host.name for host in cut.facility.hosts}
