"""Each site's own controller, with every way out of one site cut: it is asked from the site's own floor."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.lab import instance
from pachon.errors import ExitCode
from tests.e2e.shipped import Copy

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
SITE, OTHER = "archive", "base"


@pytest.fixture(scope="module")
def cut(copy: Copy) -> Iterator[Copy]:
    """The lab, one site of which is cut off from the links and from the seed."""
    copy.pachon("lab", "site", "cut", SITE)
    try:
        yield copy
    finally:
        copy.pachon("lab", "site", "mend", SITE)


def on_the_floor(copy: Copy, host: str, *words: str, site: str = SITE, status: int = 0) -> str:
    """What a command on a host printed, for somebody who stands at the site."""
    place = instance.place(copy.facility, site)
    return copy.rig.run([*place, "ssh", "-F", str(copy.rig.state / "ssh_config"), host, *words], status=status).out


def at(copy: Copy, group: str, site: str = SITE) -> str:
    return next(host.name for host in copy.facility.site(site).active_hosts if group in host.groups)


def own(copy: Copy, *words: str, site: str = SITE, status: int = 0) -> Any:
    """What the site's own controller answers."""
    argv = ("sudo", "pachon", "--json", "--site", site, *words)
    return json.loads(on_the_floor(copy, at(copy, "admin", site), *argv, site=site, status=status))


@pytest.mark.parametrize("here", [SITE, OTHER])
def test_both_sites_know_how_they_are_while_one_is_cut_off(cut: Copy, here: str) -> None:
    found = own(cut, "status", "--wait", "60", site=here, status=ExitCode.DEGRADED)
    (site,) = found["sites"]
    wanted = {host.name for host in cut.facility.site(here).active_hosts}
    assert {host["name"] for host in site["hosts"] if host["up"]} == wanted
    assert {host["power"] for host in site["hosts"] if host["defined"] == "active"} == {"on"}
    assert [each for each in found["degraded"] if "link" not in each and "boot service" not in each] == []


def test_from_outside_the_site_that_is_cut_off_is_unknown_since_then_and_the_other_as_it_was(cut: Copy) -> None:
    sites = {site["name"]: site for site in cut.rig.ask("status", "--wait", "30", status=ExitCode.DEGRADED)["sites"]}
    assert sites[SITE]["condition"] == "unknown"
    assert datetime.fromisoformat(sites[SITE]["since"]) < datetime.now(UTC)
    wanted = {host.name for host in cut.facility.site(OTHER).active_hosts}
    assert {host["name"] for host in sites[OTHER]["hosts"] if host["up"]} == wanted


def test_its_own_controller_verifies_hosts_and_asks_machines(cut: Copy) -> None:
    batch = at(cut, "slurm_compute")
    assert own(cut, "verify", batch)["outcomes"]
    serial = next(host.machine for host in cut.facility.site(SITE).hosts if host.name == batch)
    assert own(cut, "machine", "show", serial)


@pytest.mark.parametrize("here", [SITE, OTHER])
def test_names_batch_and_logins_go_on_at_both_sites(cut: Copy, here: str) -> None:
    batch, storage, controller = (at(cut, group, here) for group in ("slurm_compute", "storage", "slurm_controller"))
    address = str(next(host.address for host in cut.facility.hosts if host.name == storage))
    assert address in on_the_floor(cut, batch, "getent", "hosts", storage, site=here)
    assert "idle" in on_the_floor(cut, controller, "sinfo", "--noheader", "--format=%T", site=here)
    done = on_the_floor(cut, controller, "sudo", "-u", "campaign", "srun", "hostname", site=here)
    assert done.strip() in {host.name for host in cut.facility.site(here).hosts}
    login = ("sudo", "pachon", "--site", here, "host", "ssh", storage, "--", "hostname")
    assert on_the_floor(cut, at(cut, "admin", here), *login, site=here).strip() == storage
