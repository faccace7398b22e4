"""A third site out of files alone, for real: the second one's, copied and renumbered, and three small sites come up.

Fifteen machines for that are too many for every run: ``make faults`` has it.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pachon.definition import load
from pachon.model.facility import Facility, Host
from tests.e2e import making
from tests.e2e.rig import Done, Rig, rig
from tests.e2e.trying import Attempt, Hosts

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(1800)]

NAME = "t-three"
NETWORK = "198.19.0"
SITE = "third"
WAIT_SECONDS = 300.0
"""Until something that must come counts as never coming."""


@dataclass(frozen=True)
class Three:
    """The facility of three sites as it came up."""

    rig: Rig
    facility: Facility
    first: Done

    @property
    def third(self) -> tuple[Host, ...]:
        """Hosts of the third site."""
        return self.facility.site(SITE).active_hosts

    def host(self, group: str, site: str = SITE) -> Host:
        """The site's first host in a group."""
        return next(host for host in self.facility.site(site).active_hosts if group in host.groups)


if os.environ.get("PACHON_FAULTS") == "all":

    @pytest.fixture(scope="module")
    def three() -> Iterator[Three]:
        with rig(NAME) as made:
            making.copy_of_lab(made.definition, name=NAME, network=NETWORK, blocks=making.THREE_SITES_BLOCKS)
            making.keep_hosts(made.definition, making.WITHOUT_STORAGE)
            making.third_site(made.definition, name=SITE)
            yield Three(made, load(made.definition), made.pachon("--json", "up"))

    def test_hosts_of_the_third_site_are_deployed_and_configured(three: Three) -> None:
        first = three.first.value
        assert first["failures"] == []
        own = {host["name"]: host["done"] for host in first["hosts"] if host["site"] == SITE}
        assert own == {host.name: "created" for host in three.third}
        assert {name.replace("archive", SITE, 1) for name in making.WITHOUT_STORAGE["archive"]} == set(own)
        three.rig.pachon("verify", SITE)
        again = three.rig.ask("up")
        assert (again["failures"], again["changed"]) == ([], False), again["why"]

    def test_names_are_answered_at_the_third_site_and_from_it(three: Three) -> None:
        for asking in (three.host("slurm_compute"), three.host("admin", "base")):
            for asked in (three.host("slurm_controller"), three.host("admin", "archive")):
                found = three.rig.ssh(asking.name, f"getent hosts {asked.name}.{three.facility.domain}")
                assert found.split()[0] == str(asked.address)
        own = str(three.host("dns").address)
        resolver = three.rig.ssh(three.host("slurm_compute").name, "cat /etc/resolv.conf")
        assert re.findall(r"^nameserver (\S+)", resolver, re.MULTILINE)[0] == own

    def test_the_third_site_s_slurm_takes_a_job_and_accounts_for_it(three: Three) -> None:
        controller, worker = three.host("slurm_controller").name, three.host("slurm_compute").name
        job = "cd /tmp && sudo -u campaign srun --job-name=third-site --mem=32 hostname -s"
        assert three.rig.ssh(controller, job).split() == [worker]
        asked = "sudo -u campaign sacct --allocations --starttime=now-1hours --user=campaign --name=third-site"
        until = time.monotonic() + WAIT_SECONDS
        while True:
            told = three.rig.ssh(controller, f"{asked} --noheader --parsable2 --format=cluster,state").split()
            if told == [f"{SITE}|COMPLETED"]:
                return
            assert time.monotonic() < until, f"accounting has {told}"
            time.sleep(1)

    def test_the_link_to_the_third_site_carries_what_flows_allow_and_nothing_else(three: Three) -> None:
        hosts = Hosts(three.rig.state / "ssh_config")
        worker, near, far = three.host("slurm_compute"), three.host("admin", "base"), three.host("admin", "archive")
        said = hosts.run(near.name, ["ping", "-c", "5", "-i", "0.3", "-W", "20", str(three.host("admin").address)])
        fastest = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", said)
        link = next(link for link in three.facility.links if SITE in link.sites)
        assert fastest is not None, said
        assert float(fastest[1]) >= 2 * link.delay_ms
        wanted = {
            Attempt(source.name, str(target.address), port): outcome
            for source, target in ((worker, near), (worker, far), (near, worker), (far, worker))
            for port, outcome in (("tcp/53", "open" if source is worker else "refused"), ("tcp/5432", "refused"))
        }
        wanted[Attempt(near.name, str(worker.address), "tcp/22")] = "open"
        wanted[Attempt(worker.name, str(near.address), "tcp/22")] = "refused"
        with hosts.listening([near.name, far.name, worker.name], ["tcp/53", "tcp/5432"]):
            assert hosts.knock(wanted) == wanted
