"""What a command needs to get at hosts and BMCs: keys and files of the facility's state, and the twin's endpoints."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pachon.errors import MissingError, PachonError, RefusedError
from pachon.model.facility import Facility, Host, HostState

if TYPE_CHECKING:
    from pachon.bmcs import Detours


def ssh_config(facility: Facility, state: Path) -> Path:
    """The configuration for ``ssh -F``, written anew, with a certificate that is good for hours.

    Raises:
        MissingError: nothing was deployed yet, so there is no authority to trust.
    """
    from infra.boot import ca

    try:
        ca.ensure_automation_key(state, facility)
    except PachonError as error:
        raise MissingError(
            f"facility {facility.name!r} has no ssh authority on this machine yet", cure="run 'pachon up' first"
        ) from error
    return ca.write_ssh_config(facility, state)


def refuse_planned(host: Host) -> None:
    """Do nothing for a host that is to exist.

    Raises:
        RefusedError: it is only planned.
    """
    if host.state is not HostState.ACTIVE:
        raise RefusedError(
            f"host {host.name!r} is {host.state.value}: the definition does not have it exist yet",
            cure="set its state to active, then 'pachon up'",
        )


@dataclass(frozen=True)
class Stands:
    """What stands behind the hardware tables now, and where its doors are."""

    kind: Literal["racks", "lab", "twin"]
    condition: str
    """``up``, ``down`` or what is wrong with the emulated hardware; empty for racks."""
    reachable: bool
    """Whether the facility's addresses lead to it; where not, they would lead to strangers."""
    detours: "Detours" = field(default_factory=dict)
    """Doors of addresses that are mapped elsewhere."""


async def hardware(facility: Facility, state: Path) -> Stands:
    """What stands behind the facility's hardware tables on this machine."""
    from pachon import ground

    stands_on = ground.of(facility)
    if stands_on.kind == "racks":
        return Stands("racks", "", reachable=True)
    if stands_on.kind == "twin":
        detours = stands_on.endpoints
        return Stands("twin", "up" if detours else "down", reachable=bool(detours), detours=detours)
    from infra.lab import instance

    found = await instance.status(facility.name, state=state)
    reachable = bool(found.sites) and all(site.network for site in found.sites)
    return Stands("lab", "up" if found.up else "; ".join(found.problems) or "down", reachable=reachable)


async def standing(facility: Facility, state: Path) -> Stands:
    """As ``hardware``, when there is any.

    Raises:
        MissingError: the emulated hardware is not up, so whoever answered at its addresses would be a stranger.
    """
    stands = await hardware(facility, state)
    if not stands.reachable:
        raise MissingError(
            f"the {stands.kind} of {facility.name!r} is {stands.condition}", cure="'pachon lab up' builds its hardware"
        )
    return stands


def refuse_twin(stands: Stands, facility: Facility) -> None:
    """Do nothing where hosts have operating systems.

    Raises:
        RefusedError: the twin stands in for them.
    """
    if stands.kind == "twin":
        raise RefusedError(
            f"the twin stands in for {facility.name!r}: its hosts have no operating systems",
            cure="use a machine that can bring up the lab; 'pachon doctor' says what this one lacks",
        )
