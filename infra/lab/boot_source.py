"""What a machine boots from at this power-on: the rule of ``infra.lab.bmc.hardware.consume_boot``, on plain JSON.

Said twice because a keeper must start fast and the BMC's models are dear to import; a test holds both together.
"""

import fcntl
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

SETTINGS_FILE = "bmc.json"

Source = Literal["UefiHttp", "Hdd", "Cd"]


@dataclass(frozen=True)
class Choice:
    """Where to boot from."""

    source: Source
    target: str
    """URI for UefiHttp (empty: DHCP says it), path of the medium for Cd."""
    forced: bool
    """Whether the BMC asked for it; otherwise it is the firmware's own order."""
    media_path: str
    """Medium in the virtual drive, whatever is booted from; empty: none."""


def choose(settings: dict[str, Any], *, now: datetime) -> tuple[Choice, dict[str, Any]]:
    """The boot source that the settings ask for, and the settings after this boot."""
    override = settings.get("boot_override", "Disabled")
    wanted = settings.get("boot_source", "None") if override != "Disabled" else "None"
    after = dict(settings)
    if override == "Once":
        after |= {"boot_source": "None", "boot_override": "Disabled", "changed_at": now.isoformat()}
    media = settings.get("media_path", "") if settings.get("inserted") else ""
    match wanted:
        case "UefiHttp":
            return Choice("UefiHttp", settings.get("http_boot_uri", ""), True, media), after
        case "Cd" if media:
            return Choice("Cd", media, True, media), after
        case _:
            return Choice("Hdd", "", wanted == "Hdd", media), after


def consume(folder: Path) -> Choice:
    """The boot source for the machine of this folder; one set for a single boot is used up by this."""
    path = folder / SETTINGS_FILE
    with (folder / ".bmc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            settings = json.loads(path.read_bytes())
        except FileNotFoundError:
            settings = {}
        choice, after = choose(settings, now=datetime.now(UTC))
        if after != settings:
            partial = folder / ".bmc-consumed"
            partial.write_text(json.dumps(after, indent=1))
            partial.replace(path)
    return choice
