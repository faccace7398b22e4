"""What the resources need of the world, so that their logic can be run, and killed, without a rack.

``racks`` speaks to BMCs, boot services and hosts; ``folder`` keeps a world in files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pachon.model.stamp import Stamp

Tell = Callable[[str, float | None], None]
"""Takes what is happening, for people, and the part that is done."""

ProgramName = Literal["addresses", "segments", "stamp", "volumes"]


@dataclass(frozen=True)
class MachineAt:
    """A machine and how its BMC is reached."""

    site: str
    serial: str
    rack: str
    vendor: str
    model: str
    bmc_address: str
    pin: str
    """Fingerprint of the BMC's certificate; empty before enrolment."""


@dataclass(frozen=True)
class HostAt:
    """A host and how it is reached by SSH."""

    site: str
    name: str
    domain: str
    management_address: str


@dataclass(frozen=True)
class MachineSeen:
    """What a BMC says of its machine."""

    serial: str
    macs: tuple[str, ...]
    size_bytes_by_disk: dict[str, int]
    """By serial of the disk."""
    on: bool
    asset_tag: str
    tls_sha256: str


@dataclass(frozen=True)
class DeploySeen:
    """What the boot service says of a machine's deploy."""

    state: Literal["waiting", "fetched", "deploying", "done", "failed"]
    generation: str


@dataclass(frozen=True)
class Answering:
    """What came of asking a host who it is."""

    stamp: Stamp | None
    reason: str = ""
    """Why there is no stamp: no answer, an untrusted key, a forged stamp."""


class World(Protocol):
    """Machines, their boot service, and the hosts on them. All methods raise our errors only."""

    async def inspect(self, machine: MachineAt) -> MachineSeen:
        """The machine as it is now."""

    async def glance(self, machine: MachineAt) -> MachineSeen:
        """The same without its NICs and disks, which a look does not go by."""

    async def set_asset_tag(self, machine: MachineAt, text: str) -> None:
        """Write the asset tag, verified."""

    async def start(self, machine: MachineAt) -> None:
        """Have the machine on, from its own disk."""

    async def stop(self, machine: MachineAt) -> None:
        """Have the machine off, without asking its operating system."""

    async def deploy_of(self, machine: MachineAt) -> DeploySeen | None:
        """The machine's newest deploy at its boot service."""

    async def order(self, machine: MachineAt, host: dict[str, Any]) -> DeploySeen:
        """Order the host's deploy; one of the same generation that is under way or done is left as it is."""

    async def boot_deploy(self, machine: MachineAt) -> None:
        """Boot the machine into the deploy image of its order."""

    async def until_deployed(self, machine: MachineAt, tell: Tell) -> None:
        """Return when the deploy is done; PermanentError when it failed."""

    async def revoke(self, machine: MachineAt) -> None:
        """Withdraw order, keys and certificates of the machine; nothing if there are none."""

    async def stamp_on_disk(self, host: HostAt, *, within_seconds: float) -> Answering:
        """The host's own stamp as soon as it answers with its certificate, its signature checked."""

    async def run_program(self, host: HostAt, program: ProgramName, call: dict[str, Any]) -> dict[str, Any]:
        """The program's answer from that host."""

    async def close(self) -> None:
        """Give back connections."""
