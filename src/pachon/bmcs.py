"""The BMCs of a site as they are reached from here: endpoints, credentials, and how they differ from the definition."""

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from pachon import places
from pachon.drivers.redfish import Bmc, Endpoint, Inventory, Power, Target, inspect_all, quirks_of
from pachon.errors import MissingError, PachonError
from pachon.model.base import Frozen
from pachon.model.facility import Machine, Serial, Site, SiteName
from pachon.store.database import open_if_there
from pachon.store.machines import machines_of

USERNAME = "pachon"
GIB = 1 << 30
ASKED_AT_ONCE = 128
"""BMCs, each with up to two open connections."""
NO_PINS: Mapping[Serial, str] = {}


class Door(Protocol):
    """Where an address is really reached."""

    @property
    def host(self) -> str:
        """Name or address."""

    @property
    def port(self) -> int:
        """TCP port."""


Detours = Mapping[str, Door]
"""Doors of addresses that are mapped elsewhere: the twin's, which all are on loopback."""
NO_DETOURS: Detours = {}


class Difference(Frozen):
    """A fact of a machine, as the definition has it and as its BMC tells it."""

    fact: str
    defined: str
    found: str
    same: bool


def password(state: Path, site: SiteName) -> SecretStr:
    """The password of the BMCs of a site.

    Raises:
        MissingError: it was not supplied or made yet.
    """
    path = state / "secrets" / f"bmc-{site}"
    try:
        return SecretStr(path.read_text().strip())
    except OSError as error:
        raise MissingError(
            f"the password of the BMCs of site {site!r} is not here",
            cure=f"a lab makes it ('pachon up'); for real racks put it into {path}, mode 0600",
        ) from error


def pins(state: Path, site: SiteName) -> dict[Serial, str]:
    """Fingerprints of BMC certificates that were pinned at enrolment."""
    store = open_if_there(places.store(state))
    if store is None:
        return {}
    try:
        return {serial: record.bmc_tls_sha256 for serial, record in machines_of(store, site).items()}
    finally:
        store.close()


def target(machine: Machine, detours: Detours = NO_DETOURS, *, pinned: Mapping[Serial, str] = NO_PINS) -> Target:
    """How a machine's BMC is reached."""
    door = detours.get(str(machine.bmc_address))
    return Target(
        serial=machine.serial,
        endpoint=Endpoint(str(machine.bmc_address)) if door is None else Endpoint(door.host, door.port),
        tls_sha256=machine.bmc_tls_sha256 or pinned.get(machine.serial, ""),
        quirks=quirks_of(machine.vendor, machine.model),
    )


def open_bmc(machine: Machine, state: Path, detours: Detours = NO_DETOURS) -> Bmc:
    """The BMC of a machine, for an ``async with`` block.

    Raises:
        MissingError: there is no password for it.
    """
    found = target(machine, detours, pinned=pins(state, machine.site))
    return _bmc(found, password(state, machine.site))


def _bmc(found: Target, secret: SecretStr) -> Bmc:
    return Bmc(found.endpoint, USERNAME, secret, tls_sha256=found.tls_sha256, serial=found.serial, quirks=found.quirks)


def compare(machine: Machine, found: Inventory) -> tuple[Difference, ...]:
    """Every fact of the definition next to what the BMC tells."""
    facts = [
        _fact("serial", machine.serial, found.serial),
        _fact("cpus", machine.cpus, found.cpus),
        _fact("memory_mib", machine.memory_mib, found.memory_mib),
    ]
    macs = {port.mac for port in found.nics}
    for nic in machine.nics:
        facts.append(_fact(f"nic {nic.name}", nic.mac, nic.mac if nic.mac in macs else ""))
    drives = {drive.serial: drive for drive in found.disks}
    for disk in machine.disks:
        drive = drives.get(disk.serial)
        shown = "" if drive is None else f"{drive.serial} {drive.size_bytes // GIB} GiB"
        facts.append(_fact(f"disk {disk.name}", f"{disk.serial} {disk.size_gib} GiB", shown))
    known = {nic.mac for nic in machine.nics} | {disk.serial for disk in machine.disks}
    extra = [("nic", port.name, port.mac) for port in found.nics if port.mac not in known]
    extra += [("disk", drive.name, drive.serial) for drive in found.disks if drive.serial not in known]
    return (*facts, *(_fact(f"{kind} {name}", "", shown) for kind, name, shown in extra))


def _fact(fact: str, defined: object, found: object) -> Difference:
    return Difference(fact=fact, defined=str(defined), found=str(found), same=str(defined) == str(found))


async def inspect_site(site: Site, state: Path, detours: Detours = NO_DETOURS) -> dict[Serial, Inventory | PachonError]:
    """What every BMC of a site tells, or why not.

    Raises:
        MissingError: there is no password for them.
    """
    pinned = pins(state, site.name)
    targets = [target(machine, detours, pinned=pinned) for machine in site.machines]
    return await inspect_all(targets, USERNAME, password(state, site.name))


def power_by_serial(
    site: Site, state: Path, detours: Detours = NO_DETOURS
) -> dict[Serial, Coroutine[Any, Any, Power | PachonError]]:
    """By machine: what tells, once awaited, whether it is on, or why its BMC does not say.

    Raises:
        MissingError: there is no password for them.
    """
    secret, pinned = password(state, site.name), pins(state, site.name)
    turns = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(machine: Machine) -> Power | PachonError:
        async with turns:
            try:
                async with _bmc(target(machine, detours, pinned=pinned), secret) as bmc:
                    return await bmc.power()
            except PachonError as error:
                return error
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                return PachonError(f"its BMC answers nonsense: {error}")

    return {machine.serial: ask(machine) for machine in site.machines}
