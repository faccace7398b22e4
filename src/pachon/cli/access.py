"""What a command needs to get at hosts and BMCs: keys and files of the facility's state, and the twin's endpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pachon.errors import MissingError, PachonError, RefusedError
from pachon.model.facility import Facility, Hardware, Host, HostName, HostState, Serial

if TYPE_CHECKING:
    from pachon.drivers.redfish import Endpoint


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
    """Whether the emulated hardware is up; empty for racks."""
    bmcs: "Mapping[Serial, Endpoint]" = field(default_factory=dict)
    """BMCs that are not at their own address, by serial."""
    doors: "Mapping[HostName, Endpoint]" = field(default_factory=dict)
    """SSH of hosts that are not at their own address."""


async def hardware(facility: Facility, state: Path) -> Stands:
    """What stands behind the facility's hardware tables on this machine."""
    if facility.hardware is Hardware.RACKS:
        return Stands("racks", "")
    return Stands("lab", "up")
