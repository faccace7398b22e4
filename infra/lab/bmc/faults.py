"""Ways in which a BMC misbehaves, settable while it runs.

They lie in ``<folder>/faults.json``; the emulator looks at the file's time at each request. Tests write it with
``put`` and ``clear``.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from infra.lab.bmc.hardware import PowerState
from pachon.model.base import Frozen
from pachon.model.facility import Serial


class Faults(Frozen):
    """What is wrong with one BMC; the default is a sound one."""

    no_answer: bool = False
    """Connections are accepted and never answered, not even the TLS handshake."""
    slow_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0
    """Every answer comes so late."""
    lies_about_power: PowerState | None = None
    """Says so whatever is true."""
    other_serial: str = ""
    """Serial it reports instead of the machine's."""
    http_500_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of requests that end in HTTP 500."""
    ignores_boot_override: bool = False
    """Accepts a boot source and forgets it."""
    garbage_json: bool = False
    """Bodies are cut in the middle."""
    tls_changed: bool = False
    """Shows another certificate than the site's BMCs do."""


SOUND = Faults()
_FILE: TypeAdapter[dict[Serial, Faults]] = TypeAdapter(dict[Serial, Faults])


def path(folder: Path) -> Path:
    """File in which the faults of a site's BMCs are set."""
    return folder / "faults.json"


def read(folder: Path) -> dict[Serial, Faults]:
    """Faults by serial; empty where none are set or the file cannot be read."""
    try:
        return _FILE.validate_json(path(folder).read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}


def put(folder: Path, faults: Mapping[Serial, Faults]) -> None:
    """Give these machines these faults; those of others stay."""
    _write(folder, {**read(folder), **faults})


def clear(folder: Path, *serials: Serial) -> None:
    """Take the faults of these machines away; of all when none is named."""
    _write(folder, {serial: kept for serial, kept in read(folder).items() if serials and serial not in serials})


def _write(folder: Path, faults: dict[Serial, Faults]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path(folder).with_suffix(f".{os.getpid()}.new")
    new.write_bytes(_FILE.dump_json(faults))
    new.replace(path(folder))


class FaultTable:
    """The faults in force, read anew whenever the file changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._faults: dict[Serial, Faults] = {}

    def of(self, serial: Serial) -> Faults:
        """Faults of one BMC now."""
        seen = (0, 0, 0)
        with contextlib.suppress(FileNotFoundError):
            stat = path(self._folder).stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen != self._seen:
            self._seen = seen
            self._faults = read(self._folder)
        return self._faults.get(serial, SOUND)
