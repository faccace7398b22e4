"""What a BMC tells, as values."""

from enum import StrEnum

from pachon.model.base import Frozen


class Power(StrEnum):
    """Power of a machine, read or wanted."""

    ON = "On"
    FORCE_OFF = "ForceOff"
    """As a reading: it is off."""
    GRACEFUL_OFF = "GracefulShutdown"
    FORCE_RESTART = "ForceRestart"


class BootSource(StrEnum):
    """What a machine boots from next."""

    NONE = "None"
    """As its firmware's own order says."""
    HTTP = "UefiHttp"
    DISK = "Hdd"
    MEDIA = "Cd"


class BootSetting(Frozen):
    """Boot source as the BMC shows it."""

    source: BootSource
    once: bool
    uri: str
    """HttpBootUri, empty if there is none."""


class Port(Frozen):
    """A network interface as the BMC sees it."""

    name: str
    mac: str
    """Lower case, colon separated."""


class Drive(Frozen):
    """A drive as the BMC sees it."""

    name: str
    serial: str
    size_bytes: int
    media: str
    """Redfish's MediaType and Protocol, such as ``SSD/NVMe``."""


class Glance(Frozen):
    """What of a machine changes without anybody opening it, as its BMC has it now."""

    serial: str
    power: Power
    """ON or FORCE_OFF."""
    asset_tag: str
    tls_sha256: str
    """As of ``Inventory``."""


class Inventory(Frozen):
    """One machine as its BMC describes it."""

    serial: str
    uuid: str
    manufacturer: str
    model: str
    power: Power
    """ON or FORCE_OFF."""
    asset_tag: str
    bios: str
    cpus: int
    """Threads."""
    memory_mib: int
    nics: tuple[Port, ...]
    disks: tuple[Drive, ...]
    boot: BootSetting
    tls_sha256: str
    """Fingerprint of the certificate that the BMC showed, as 64 hex digits: what enrolment pins."""
