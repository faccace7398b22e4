"""Faults that tests and drills put into a lab: a pulled cable, a wrong clock, a full disk, a cut link, a site cut off.

Faults of BMCs are the emulator's own (``infra.lab.bmc.faults``). Those of machines lie in the machine's folder and last
until they are taken back; cuts last until they are mended, or until the next ``up``.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.lab import ip, plug, power, spec, stock
from infra.lab.wan import cut_link, cut_site, mend_link, mend_site
from pachon.errors import UsageError

__all__ = ["cut_link", "cut_site", "fill_disk", "mend_link", "mend_site", "pull_cable", "set_clock"]


def _machine(state: Path, serial: str) -> tuple[Path, spec.MachineSpec]:
    folder = stock.machines_folder(state.resolve()) / serial
    try:
        return folder, spec.load(folder)
    except FileNotFoundError as error:
        raise UsageError(f"the lab has no machine {serial}", cure="'pachon lab status' lists them") from error


def _change(folder: Path, key: str, value: Any) -> None:
    found = dict(plug.faults(folder))
    if value:
        found[key] = value
    else:
        found.pop(key, None)
    partial = folder / ".machine-faults"
    partial.write_text(json.dumps(found, indent=1))
    partial.replace(folder / plug.FAULTS_FILE)


def pull_cable(state: Path, serial: str, nic: str, *, pulled: bool = True) -> None:
    """The cable is out of that NIC, or in again; at once, and for later power-ons.

    Raises:
        UsageError: there is no such machine or NIC.
    """
    folder, machine = _machine(state, serial)
    port = next((each for each in machine.ports if each.nic == nic), None)
    if port is None:
        raise UsageError(
            f"{serial} has no NIC {nic}", cure=f"it has {', '.join(each.nic for each in machine.ports) or 'none'}"
        )
    now = set(plug.faults(folder).get("pulled", ()))
    _change(folder, "pulled", sorted(now | {nic} if pulled else now - {nic}))
    if power.keeper(folder) is not None:
        ip.batch(plug.link_lines(folder, machine, port), namespace=machine.floor, force=True)


def set_clock(state: Path, serial: str, clock: datetime | None) -> None:
    """From its next power-on a firmware machine's clock starts there; None: right again. Containers have no clock.

    Raises:
        UsageError: there is no such machine, or it is a container.
    """
    folder, machine = _machine(state, serial)
    if machine.kind != "firmware":
        raise UsageError(
            f"{serial} is a container and shares the clock of the machine that carries it",
            cure="take a firmware machine",
        )
    _change(folder, "clock", clock.strftime("%Y-%m-%dT%H:%M:%S") if clock is not None else None)


def fill_disk(state: Path, serial: str, disk: str, *, room_mib: int | None) -> None:
    """From the next ``up`` on the disk takes only so many MiB, then fails to write; None: the disk that it was before.

    Raises:
        UsageError: there is no such machine or disk, or the machine is on.
    """
    folder, machine = _machine(state, serial)
    if disk not in {each.name for each in machine.disks}:
        raise UsageError(
            f"{serial} has no disk {disk}", cure=f"it has {', '.join(each.name for each in machine.disks)}"
        )
    if power.keeper(folder) is not None:
        raise UsageError(f"{serial} is on", cure="switch it off first")
    full = dict(plug.faults(folder).get("full", {}))
    full.pop(disk, None)
    _change(folder, "full", full | ({disk: room_mib} if room_mib is not None else {}))
