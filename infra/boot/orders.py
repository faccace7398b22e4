"""The documents of a deploy: what the provider asks for, what the machine is told, and what is kept of it."""

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Protocol

from pydantic import Field

from pachon.errors import PermanentError
from pachon.model.base import Frozen
from pachon.model.facility import DeployLimits, Facility, Host, Machine, Site

SERVER_USER = "pachon"
SERVER_PRINCIPAL = "automation"


class ImageFile(Frozen):
    """A file that the boot service sends: an OS image, or the kernel and boot loader that go beside it."""

    digest: str
    """``sha256:`` and 64 hex digits, of the file as sent (compressed)."""
    path: Path
    raw_size_bytes: int
    """Unpacked."""


class NicAddress(Frozen):
    """What a NIC of the deployed host is called and which address it has."""

    name: str
    address: IPv4Address | None = None
    prefix: int | None = None
    gateway: IPv4Address | None = None
    """Default gateway of the host, on one NIC at most."""
    reply_gateway: IPv4Address | None = None
    """Gateway for answers to what came in on this address; not a default route."""
    also: IPv4Address | None = None
    """A second address in the same network."""


class Order(Frozen):
    """Everything one machine needs to become one host."""

    serial: str
    site: str
    host: str
    domain: str
    address: str
    """The host's address in the definition, such as ``base/host/base-batch01``."""
    generation: str
    names: tuple[str, ...]
    """Principals of its host certificate: name, fully qualified name, addresses."""
    address_on: dict[str, NicAddress]
    """By MAC."""
    disk_serial: str
    """The disk that is written; no other is touched."""
    image: ImageFile
    kernel: ImageFile
    principals: dict[str, tuple[str, ...]]
    """Who may log in as which user."""
    hosts: tuple[str, ...]
    """Lines of /etc/hosts."""


class DiskFound(Frozen):
    """A disk as the machine sees it."""

    name: str
    serial: str
    size_bytes: int


class NicFound(Frozen):
    """A NIC as the machine sees it."""

    name: str
    mac: str


class InventoryFound(Frozen):
    """What the machine says it consists of."""

    cpus: int
    memory_mib: int
    disks: tuple[DiskFound, ...]
    nics: tuple[NicFound, ...]


class Hello(Frozen):
    """First words of a machine in the deploy image."""

    serial: str
    uuid: str
    macs: tuple[str, ...]
    clock_unix: float
    session: str
    """Random, made by the agent when it starts: tells a repeated question from a second machine."""
    inventory: InventoryFound


class State(StrEnum):
    """How far a deploy is."""

    WAITING = "waiting"
    FETCHED = "fetched"
    DEPLOYING = "deploying"
    DONE = "done"
    FAILED = "failed"


class Deploy(Frozen):
    """What is known of one machine's deploy; this is what the admin API answers."""

    id: str
    serial: str
    host: str
    generation: str
    rack: str
    state: State
    since: datetime
    phase: str = ""
    fraction: float | None = None
    message: str = ""
    error: str = ""
    cure: str = ""
    silent: bool = False
    """Whether it failed only because nothing was heard of the machine: another boot may do."""
    session_sha256: str = ""
    token_sha256: str
    host_keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    phases: dict[str, float] = Field(default_factory=dict)
    """Seconds that each phase took, told by the machine at the end."""
    refusals: tuple[str, ...] = ()
    """Who else asked for this machine's orders, and why nothing was given (the last ten)."""
    inventory: InventoryFound | None = None
    http_boot_uri: str = ""
    """What the BMC is told to boot; only while the token has not been used."""
    media_url: str = ""
    """The same as a virtual disk."""


class MachineSettings(Frozen):
    """What the boot service must know of each machine of its site."""

    serial: str
    mac: str
    address: IPv4Address
    bmc_address: IPv4Address
    rack: str


class Settings(Frozen):
    """Configuration of one boot service (a JSON file)."""

    facility: str
    site: str
    state: Path
    folder: Path
    management: IPv4Network
    boot_address: IPv4Address
    bind_address: IPv4Address
    http_port: int
    https_port: int
    dhcp: bool
    deploy_image: Path
    deploy_digest: str
    limits: DeployLimits
    machines: tuple[MachineSettings, ...]

    @property
    def digest(self) -> str:
        """What must be equal for a running service to be left alone."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class FileLike(Protocol):
    """A baked file, as infra.image hands it out."""

    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def raw_size_bytes(self) -> int: ...  # noqa: D102


class ImagesLike(Protocol):
    """The files of one flavour, as infra.image hands them out."""

    @property
    def root(self) -> FileLike: ...  # noqa: D102
    @property
    def kernel(self) -> FileLike: ...  # noqa: D102
    @property
    def deploy(self) -> FileLike: ...  # noqa: D102


def order_for(facility: Facility, host: Host, images: ImagesLike, *, generation: str) -> Order:
    """The order that makes this host of its machine, under this generation.

    The first NIC keeps its management address. The host's own address goes on the second NIC when that is on the
    segment of its enclave; a switch machine's further NICs are named and left to its roles.
    """
    site = facility.site(host.site)
    machine = site.machine_by_serial[host.machine]
    if not machine.disks:
        raise PermanentError(
            f"machine {machine.serial} has no disk to install on", cure="enter its disks in the hardware tables"
        )
    fqdn = f"{host.name}.{facility.domain}"
    addresses = dict.fromkeys((machine.management_address, host.address))
    address_on = _address_on(site, machine, host)
    own = next(nic.address for nic in reversed(address_on.values()) if nic.address)
    return Order(
        serial=machine.serial,
        site=site.name,
        host=host.name,
        domain=facility.domain,
        address=f"{site.name}/host/{host.name}",
        generation=generation,
        names=(host.name, fqdn, *(str(address) for address in addresses)),
        address_on=address_on,
        disk_serial=machine.disks[0].serial,
        image=_file(images.root),
        kernel=_file(images.kernel),
        principals={SERVER_USER: (SERVER_PRINCIPAL,)},
        hosts=("127.0.0.1 localhost", "::1 localhost", f"{own} {fqdn} {host.name}"),
    )


def _file(file: FileLike) -> ImageFile:
    return ImageFile(digest=file.digest, path=file.path, raw_size_bytes=file.raw_size_bytes)


def _address_on(site: Site, machine: Machine, host: Host) -> dict[str, NicAddress]:
    segment = next((part for part in site.segments if part.enclave == host.enclave), None)
    data_nic = next((nic for nic in machine.nics[1:] if not nic.name.startswith("swp")), None)
    gateway = site.management_gateway
    first = machine.boot_nic
    on_data = data_nic is not None and segment is not None and host.address in segment.subnet
    found = {
        first.mac: NicAddress(
            name=first.name,
            address=machine.management_address,
            prefix=site.management.prefixlen,
            gateway=None if on_data else gateway,
            reply_gateway=gateway if on_data else None,
        )
    }
    for nic in machine.nics[1:]:
        found[nic.mac] = NicAddress(name=nic.name)
        if on_data and nic is data_nic and segment is not None:
            found[nic.mac] = NicAddress(
                name=nic.name, address=host.address, prefix=segment.subnet.prefixlen, gateway=segment.gateway
            )
    return found
