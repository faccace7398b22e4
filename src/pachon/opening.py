"""Connections for a look, begun before all else that it needs is imported and read.

A slow host takes a second for its login, in which there is enough to do here. None is begun where nobody looks.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pachon import places
from pachon.drivers.ssh import Credentials, Fleet
from pachon.ground import Stands, hardware
from pachon.model.facility import Facility, Site


@dataclass(frozen=True)
class Opened:
    """What a look goes by."""

    fleet: Fleet
    """With connections to all hosts that are to be looked at, open or being opened."""
    trusting: str
    """Why the world is not looked at, for people; empty if it can be."""


@asynccontextmanager
async def opening(facility: Facility, sites: Sequence[Site], *, state: Path) -> AsyncIterator[Opened]:
    """Connections to the hosts of these sites, but for those that have a server to ask; closed at the end."""
    stands = await hardware(facility, state)
    reason = trusting(stands, state)
    fleet = Fleet(Credentials.of_state(state), detours=stands.detours)
    try:
        for site in () if reason else sites:
            if not places.server_socket(state, site.name).exists():
                machines = site.machine_by_serial
                for host in site.active_hosts:
                    fleet.begin(str(machines[host.machine].management_address))
        yield Opened(fleet, reason)
    finally:
        await fleet.leave()


def trusting(stands: Stands, state: Path) -> str:
    """Why the world is not looked at, for people; empty if it can be."""
    if not stands.reachable:
        return f"the {stands.kind} is {stands.condition}"
    if stands.kind == "racks" and not any((state / "secrets").glob("bmc-*")):
        return "no BMC password of these racks is here"
    return ""
