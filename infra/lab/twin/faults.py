"""Ways in which a twin machine misbehaves, settable while it runs (those of its BMC: ``infra.lab.bmc.faults``).

They lie in ``<machines folder>/machine-faults.json`` and are looked up at each power-on, login and program.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from pachon.model.base import Frozen
from pachon.model.facility import Serial


class MachineFaults(Frozen):
    """What is wrong with one machine; the default is a sound one."""

    never_calls_back: bool = False
    """Boots over the network and is never heard of."""
    wrong_digest: bool = False
    """Receives an image of other content than ordered."""
    disk_full: bool = False
    """Its disk takes less than the image needs."""
    clock_offset_seconds: float = 0.0
    """Its clock is ahead by so much (behind when negative)."""
    impostor: bool = False
    """Before it says hello, another client with its serial and MACs but no token tries to get orders."""
    other_serial: str = ""
    """Serial that it tells the boot service."""
    no_ssh: bool = False
    """After its deploy nobody answers at its SSH port."""
    stranger_ssh: bool = False
    """Shows a host key that no CA has signed."""
    drift: dict[str, dict[str, str]] = Field(default_factory=dict)
    """What somebody changed on it: by ``kind:name`` of a subject, aspects and their values (``is: absent``: gone)."""


SOUND = MachineFaults()
_FILE: TypeAdapter[dict[Serial, MachineFaults]] = TypeAdapter(dict[Serial, MachineFaults])


def path(folder: Path) -> Path:
    """File in which faults of machines are set."""
    return folder / "machine-faults.json"


def read(folder: Path) -> dict[Serial, MachineFaults]:
    """Faults by serial; empty where none are set."""
    own = path(folder)
    try:
        told = own.stat()
        return _read(own, told.st_ino, told.st_mtime_ns)
    except (FileNotFoundError, ValidationError):
        return {}


@lru_cache(maxsize=4)
def _read(own: Path, inode: int, changed: int) -> dict[Serial, MachineFaults]:
    """The file that is a new one each time it is written."""
    return _FILE.validate_json(own.read_bytes())


def of(folder: Path, serial: Serial) -> MachineFaults:
    """Faults of one machine now."""
    return read(folder).get(serial, SOUND)


def put(folder: Path, faults: Mapping[Serial, MachineFaults]) -> None:
    """Give these machines these faults; those of others stay."""
    _write(folder, {**read(folder), **faults})


def clear(folder: Path, *serials: Serial) -> None:
    """Take the faults of these machines away; of all when none is named."""
    _write(folder, {serial: kept for serial, kept in read(folder).items() if serials and serial not in serials})


def _write(folder: Path, faults: dict[Serial, MachineFaults]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path(folder).with_suffix(f".{os.getpid()}.new")
    new.write_bytes(_FILE.dump_json(faults))
    new.replace(path(folder))
