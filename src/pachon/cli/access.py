"""What a command needs to get at hosts and BMCs: keys and files of the facility's state, and the twin's endpoints."""

from pathlib import Path
from typing import TYPE_CHECKING

from pachon.errors import MissingError, PachonError, RefusedError
from pachon.model.facility import Facility, Host, HostState

if TYPE_CHECKING:
    from pachon.ground import Stands


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


def refuse_twin(stands: "Stands", facility: Facility) -> None:
    """Do nothing where hosts have operating systems.

    Raises:
        RefusedError: the twin stands in for them.
    """
    if stands.kind == "twin":
        raise RefusedError(
            f"the twin stands in for {facility.name!r}: its hosts have no operating systems",
            cure="use a machine that can bring up the lab; 'pachon doctor' says what this one lacks",
        )
