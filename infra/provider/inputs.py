"""Inputs of each resource family as types: what the engine sends is checked against them before anything happens."""

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from pachon.model.base import Frozen
from pachon.model.hardware import ImageFacts

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-zA-Z0-9_.-]{0,62}$")]
Serial = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,79}$")]
Address = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*/(machine|host|network|volume)/[a-zA-Z0-9_.-]+$")
]
Generation = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
Mac = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
Interface = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,15}$")]


def _plain_path(path: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+", path):
        raise ValueError("must be an absolute path of plain names, such as /srv/scratch")
    return path


class Nic(Frozen):
    """A NIC and what the host is to have on it."""

    name: Interface
    mac: Mac
    address: IPv4Address | None = None
    prefix: int | None = Field(default=None, ge=1, le=32)
    also: IPv4Address | None = None
    """A second address in the same network: that of the segment's gateway."""
    gateway: IPv4Address | None = None
    reply_gateway: IPv4Address | None = None


class MachineDisk(Frozen):
    """A disk as the hardware tables have it."""

    name: str
    serial: Serial
    size_gib: int = Field(ge=1)


class MachineNic(Frozen):
    """A NIC as the hardware tables have it."""

    name: Interface
    mac: Mac


class MachineInputs(Frozen):
    """A machine."""

    address: Address
    generation: Generation
    site: Name
    serial: Serial
    rack: str
    vendor: str
    model: str
    bmc_address: IPv4Address
    bmc_tls_sha256: Fingerprint
    cpus: int = Field(ge=1)
    memory_mib: int = Field(ge=1)
    nics: tuple[MachineNic, ...] = Field(min_length=1)
    disks: tuple[MachineDisk, ...]


class HostInputs(Frozen):
    """A host on a machine."""

    address: Address
    generation: Generation
    site: Name
    host: Name
    domain: str
    serial: Serial
    rack: str
    vendor: str
    model: str
    bmc_address: IPv4Address
    bmc_tls_sha256: Fingerprint
    management_address: IPv4Address
    nics: tuple[Nic, ...] = Field(min_length=1)
    disk_serial: Serial
    flavour: Name
    image: ImageFacts
    enclave: str
    groups: tuple[str, ...]


class Switch(Frozen):
    """A switch host's part of a network."""

    host: Name
    management_address: IPv4Address
    generation: Generation
    """Of the switch host: a switch that was made anew is configured anew."""
    ports: tuple[Interface, ...]


class NetworkInputs(Frozen):
    """The segment of an enclave at a site, or the management segment behind switch machines."""

    address: Address
    generation: Generation
    site: Name
    enclave: Name
    vni: int = Field(ge=0, le=16777215)
    """0 is the management segment's: it has none."""
    bridge: Interface
    subnet: IPv4Network
    switches: tuple[Switch, ...] = Field(min_length=1)


class PoolDisk(Frozen):
    """A disk of a storage pool."""

    name: str
    serial: Serial


class VolumeInputs(Frozen):
    """A volume in a storage pool of a host."""

    address: Address
    generation: Generation
    site: Name
    volume: Name
    host: Name
    management_address: IPv4Address
    host_generation: Generation
    """A host that was made anew has its volumes mounted anew."""
    pool: Name
    disks: tuple[PoolDisk, ...] = Field(min_length=1)
    file_system: Literal["btrfs", "xfs"]
    mirrored: bool
    size_gib: int = Field(ge=1)
    mount: Annotated[str, AfterValidator(_plain_path)]
