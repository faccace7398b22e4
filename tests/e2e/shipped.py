"""The shipped lab under another name, as the tests of this folder share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network

from pachon.definition import load
from pachon.model.facility import Facility, Host, Machine
from tests.e2e import making, watching
from tests.e2e.rig import Done, Rig, rig

FILES = (
    "test_up_lab.py",
    "test_isolation.py",
    "test_slurm.py",
    "test_rollout.py",
    "test_growing.py",
    "test_site_controller.py",
    "test_campaign.py",
    "test_down_lab.py",
)
"""Files whose tests share the lab, in the order in which they may: what is as it came up, what is tried, what is broken
and mended, what is left at the end."""
NAME = "t-copy"
NETWORK = "198.19.96"
CANARIES = {"bmc-base": "canary-of-a-bmc-password-7d1", "pulumi-passphrase": "canary-of-a-passphrase-9c4"}
CLOCK_SECONDS = 5.0
"""A lab that meddles with the clock is off by years."""


@dataclass
class Copy:
    """The lab as it came up, with all that was seen meanwhile."""

    rig: Rig
    facility: Facility
    first: Done
    watch: watching.Watch
    ear: watching.Ear
    before: dict[str, set[str]]
    clock_before: float
    said: list[Done]
    """What commands printed."""

    def host(self, group: str) -> Host:
        """The first active host of a group."""
        return next(host for host in self.active if group in host.groups)

    @property
    def active(self) -> list[Host]:
        """Hosts that are to exist."""
        return [host for site in self.facility.sites for host in site.active_hosts]

    def machine(self, host: Host) -> Machine:
        """The machine that carries the host."""
        return self.facility.site(host.site).machine_by_serial[host.machine]

    def pachon(self, *words: str, status: int = 0) -> Done:
        """What came of the command; kept for the search for secrets."""
        done = self.rig.pachon(*words, status=status)
        self.said.append(done)
        return done


def moved(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What of this machine is not as it was."""
    now = watching.machine_facts()
    return {kind: facts ^ now[kind] for kind, facts in before.items() if facts != now[kind]}


@contextmanager
def standing() -> Iterator[Copy]:
    """The lab, up from nothing; taken down at the end whatever state it is in."""
    with rig(NAME) as made:
        making.copy_of_lab(made.definition, name=NAME, network=NETWORK)
        secrets = made.state / "secrets"
        secrets.mkdir(mode=0o700, parents=True)
        for name, text in CANARIES.items():
            (secrets / name).touch(mode=0o600)
            (secrets / name).write_text(text)
        before, clock = watching.machine_facts(), watching.clock_offset_seconds()
        with watching.Ear(IPv4Network(f"{NETWORK}.0/20")) as ear:
            with watching.Watch(made.state) as watch:
                first = made.pachon("--json", "up")
            yield Copy(made, load(made.definition), first, watch, ear, before, clock, [first])
