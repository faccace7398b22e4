"""What the keeper of one machine has to know, as a file in the machine's folder.

A keeper starts at every power-on, many at once, so these are plain dataclasses: the facility's pydantic models cost
0.3 s of processor to import.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["container", "firmware"]


@dataclass(frozen=True)
class Port:
    """A NIC, and where its cable ends on the floor."""

    nic: str
    mac: str
    link: str
    """Name of its far end on the floor."""
    bridge: str
    """Management bridge, or the bridge of its cable; empty: no cable."""
    other: str
    """Floor link of the machine's port at the cable's other end; empty on the management segment."""


@dataclass(frozen=True)
class DiskSpec:
    """A drive and what stands behind it."""

    name: str
    serial: str
    file: str
    size_bytes: int
    loop: str
    """Loop device that it is attached to, such as ``/dev/loop7``; empty for firmware machines."""


@dataclass(frozen=True)
class MachineSpec:
    """One machine of a lab."""

    facility: str
    mark: str
    """Alias that the lab's namespaces bear."""
    site: str
    serial: str
    kind: Kind
    uuid: str
    vendor: str
    model: str
    cpus: int
    memory_mib: int
    namespace: str
    floor: str
    cache: str
    """Folder of unpacked deploy images."""
    ports: tuple[Port, ...]
    disks: tuple[DiskSpec, ...]


def path(folder: Path) -> Path:
    """File of the spec in a machine's folder."""
    return folder / "machine.json"


def save(folder: Path, spec: MachineSpec) -> None:
    """Write the spec, whole or not at all."""
    partial = folder / ".machine.json"
    partial.write_text(json.dumps(dataclasses.asdict(spec), indent=1))
    partial.replace(path(folder))


def load(folder: Path) -> MachineSpec:
    """The spec of the machine in this folder.

    Raises:
        FileNotFoundError: there is no machine.
    """
    raw = json.loads(path(folder).read_bytes())
    raw["ports"] = tuple(Port(**port) for port in raw["ports"])
    raw["disks"] = tuple(DiskSpec(**disk) for disk in raw["disks"])
    return MachineSpec(**raw)
