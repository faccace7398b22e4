"""What stands behind a BMC, and what the BMC remembers.

The emulator drives a ``Hardware``; the lab's power code and the twin each implement one. A machine's BMC settings lie
in ``<folder>/<serial>/bmc.json``, written by the emulator and read by the power code at each power-on, so that they
outlive both.
"""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from pachon.errors import PermanentError
from pachon.model.base import Frozen
from pachon.model.facility import Machine, Serial

UUID_NAMESPACE = uuid.UUID("8f1d2c34-6a55-5a0e-9d5e-0b9d6f3f7c11")


class BootSource(StrEnum):
    """Where a machine boots from; the values are Redfish's names of boot targets."""

    NONE = "None"
    """As the firmware's own order says: the disk."""
    HTTP = "UefiHttp"
    DISK = "Hdd"
    MEDIA = "Cd"


class BootOverride(StrEnum):
    """For how long a boot source holds; Redfish's words."""

    DISABLED = "Disabled"
    ONCE = "Once"
    CONTINUOUS = "Continuous"


class PowerState(StrEnum):
    """Redfish's words for power."""

    ON = "On"
    OFF = "Off"


class Facts(Frozen):
    """What never changes about a machine."""

    machine: Machine
    uuid: str
    """Upper or lower case as made; the same in Redfish, in SMBIOS and in what the deploy agent tells."""
    bios_version: str = "pachon-lab-1"


def facts_of(machine: Machine) -> Facts:
    """Facts of a machine, its UUID made from its serial (the same everywhere, and again after ``down`` and ``up``)."""
    return Facts(machine=machine, uuid=str(uuid.uuid5(UUID_NAMESPACE, machine.serial)))


class Hardware(Protocol):
    """Machines with power switches. Methods may be called at the same time for different machines.

    Every method raises PachonError when the hardware refuses or fails; the BMC tells its caller as HTTP 500 with the
    message.
    """

    @property
    def facts(self) -> Mapping[Serial, Facts]:
        """The machines, by serial."""
        ...

    async def power(self, serial: Serial) -> PowerState:
        """Whether the machine runs now."""
        ...

    async def power_on(self, serial: Serial) -> None:
        """Start the machine; nothing happens if it runs. Returns when it runs, not when it has booted."""
        ...

    async def power_off(self, serial: Serial, *, force: bool) -> None:
        """Stop it. ``force`` pulls the plug; otherwise its system is asked to shut down and this returns at once."""
        ...

    async def reset(self, serial: Serial, *, force: bool) -> None:
        """Off and on again (a boot: the boot source is consumed anew)."""
        ...


class BmcSettings(Frozen):
    """What one BMC remembers about its machine."""

    boot_source: BootSource = BootSource.NONE
    boot_override: BootOverride = BootOverride.DISABLED
    http_boot_uri: str = ""
    media_uri: str = ""
    """Where the virtual media came from."""
    media_path: str = ""
    """The BMC's own copy of it."""
    inserted: bool = False
    asset_tag: str = ""
    changed_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    """Last change, by request or by a boot."""


class BootChoice(Frozen):
    """What a machine boots from at this power-on."""

    source: BootSource
    target: str
    """URI for HTTP (empty: DHCP says it), path of the medium for MEDIA, empty otherwise."""
    settings: BmcSettings
    """What to remember after this boot."""


def consume_boot(settings: BmcSettings, *, now: datetime) -> BootChoice:
    """The boot source of this power-on; a source set for one boot is turned back to Disabled in ``settings``.

    MEDIA without a medium falls back to the disk, as firmware does.
    """
    after = settings
    source = settings.boot_source if settings.boot_override is not BootOverride.DISABLED else BootSource.NONE
    if settings.boot_override is BootOverride.ONCE:
        after = settings.model_copy(
            update={"boot_source": BootSource.NONE, "boot_override": BootOverride.DISABLED, "changed_at": now}
        )
    match source:
        case BootSource.HTTP:
            return BootChoice(source=source, target=settings.http_boot_uri, settings=after)
        case BootSource.MEDIA if settings.inserted and settings.media_path:
            return BootChoice(source=source, target=settings.media_path, settings=after)
        case _:
            return BootChoice(source=BootSource.DISK, target="", settings=after)


def settings_path(folder: Path, serial: Serial) -> Path:
    """File with the settings of one BMC."""
    return folder / serial / "bmc.json"


def load(folder: Path, serial: Serial) -> BmcSettings:
    """The settings of one BMC; those of a new one if nothing was ever set.

    Raises:
        PermanentError: the file is damaged.
    """
    path = settings_path(folder, serial)
    try:
        return BmcSettings.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return BmcSettings()
    except ValidationError as error:
        raise PermanentError(f"{path} is damaged", cure=f"remove {path}: the BMC then starts anew") from error


def save(folder: Path, serial: Serial, settings: BmcSettings) -> None:
    """Write the settings of one BMC, whole or not at all."""
    path = settings_path(folder, serial)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".bmc-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(settings.model_dump_json(indent=1))
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
