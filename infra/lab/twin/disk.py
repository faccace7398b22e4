"""What lies on a twin machine's disk: who it became, its keys, and what programs made on it since."""

import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_serializer

from pachon.errors import PermanentError
from pachon.model.base import Frozen
from pachon.model.facility import Serial


class Disk(Frozen):
    """The content of a machine's disk after a deploy."""

    host: str
    stamp: str
    stamp_signature: str
    host_key: SecretStr
    """OpenSSH private key, made on the machine."""
    host_certificate: str
    user_ca_public: str
    principals: dict[str, tuple[str, ...]]
    """Who may log in as which user."""
    address_on: dict[str, Any]
    fencing_token: int = 0
    segments: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By bridge: stamp and ports."""
    volumes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By ``pool/volume``: stamp, size and mount."""
    nics: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By NIC: what the addresses program gave it."""

    @field_serializer("host_key", when_used="json")
    def _plain(self, value: SecretStr) -> str:
        return value.get_secret_value()


def disk_path(folder: Path, serial: Serial) -> Path:
    """File that stands for the disk."""
    return folder / serial / "disk.json"


def load(folder: Path, serial: Serial) -> Disk | None:
    """The disk's content; None when it holds no system.

    Raises:
        PermanentError: the file is damaged.
    """
    path = disk_path(folder, serial)
    try:
        return Disk.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise PermanentError(f"{path} is damaged", cure=f"remove {path}: the machine then has an empty disk") from error


def save(folder: Path, serial: Serial, disk: Disk) -> None:
    """Write the disk, whole or not at all, for nobody else to read."""
    path = disk_path(folder, serial)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".disk-")
    with os.fdopen(handle, "w") as file:
        file.write(disk.model_dump_json(indent=1))
    Path(name).replace(path)


def wipe(folder: Path, serial: Serial) -> None:
    """Nothing can be booted from it any more."""
    disk_path(folder, serial).unlink(missing_ok=True)
