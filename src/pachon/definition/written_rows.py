"""The tables of a site as people write them: one type per row (see ``written``)."""

from typing import Annotated, Literal

from pydantic import Field

from pachon.definition.written import FINGERPRINT, MAC, Address, Name, PortName, Serial, Text, Written


class MachineRow(Written):
    """A row of ``machines.csv``."""

    serial: Serial
    """Serial number, as the machine itself reports it."""
    rack: Name
    """Rack, as in ``site.yaml``."""
    unit: Annotated[int, Field(ge=1, le=60)]
    """Lowest rack unit that it fills."""
    vendor: Text
    """Vendor."""
    model: Text
    """Model; in a lab ``container`` or ``firmware``."""
    cpus: Annotated[int, Field(ge=1, le=4096)]
    """Number of processors."""
    memory_mib: Annotated[int, Field(ge=1, le=67_108_864)]
    """Memory in MiB."""
    bmc_address: Address
    """Address of its BMC."""
    management_address: Address
    """Address of its first NIC, on the management segment."""
    bmc_tls_sha256: Annotated[str, Field(pattern=FINGERPRINT)] = ""
    """Fingerprint of the BMC's certificate; empty until it is enrolled."""


class NicRow(Written):
    """A row of ``nics.csv``; a machine's first row is the NIC that it boots over."""

    machine: Serial
    """Serial of its machine."""
    nic: PortName
    """Its name."""
    mac: Annotated[str, Field(pattern=MAC)]
    """MAC address."""
    speed_gbps: Annotated[int, Field(ge=1, le=1600)]
    """Speed in gigabits a second."""


class DiskRow(Written):
    """A row of ``disks.csv``; a machine's first row is its system disk."""

    machine: Serial
    """Serial of its machine."""
    disk: PortName
    """Its name."""
    serial: Serial
    """Its own serial number."""
    media: Literal["hdd", "ssd", "nvme"]
    """Kind of drive."""
    size_gib: Annotated[int, Field(ge=1, le=1_000_000)]
    """Size in GiB."""


class CableRow(Written):
    """A row of ``cables.csv``."""

    machine: Serial
    """Serial of the machine at one end."""
    nic: PortName
    """Its NIC."""
    switch: Serial
    """Serial of a switch machine, or name of an unmanaged switch or of a wide-area link."""
    port: Serial
    """Port of the switch: a NIC of the switch machine, or p1 to p<ports>; at a link the name of the site."""


TABLES: dict[str, type[Written]] = {
    "cables.csv": CableRow,
    "disks.csv": DiskRow,
    "machines.csv": MachineRow,
    "nics.csv": NicRow,
}
"""The tables of a site and the type of their rows."""
