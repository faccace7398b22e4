"""A facility as it is now: every host and what it says of itself, every machine and what its BMC says.

What hosts answer is asked over SSH with our certificates, so "up" means: the right host, and it lets us in.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pachon.bmcs import NO_DETOURS, Detours, inspect_site
from pachon.drivers.redfish import Inventory
from pachon.drivers.ssh import Credentials, Fleet
from pachon.errors import PachonError
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Host, HostName, HostState, Serial, Site
from pachon.store.database import open_store
from pachon.store.machines import MachineRecord, machines_of

Power = Literal["on", "off", "no answer", "unknown"]
ANSWER_SECONDS = 10
UPTIME = "ps -o etimes= -p 1"
"""Seconds since the host's first process began; right in containers too, where /proc/uptime is the machine's."""
STAMP = "cat /etc/pachon/stamp.json"


class HostStatus(Frozen):
    """One host as it is."""

    name: HostName
    site: str
    machine: Serial
    defined: HostState
    life: str
    """State of its machine in our records; empty if it was never enrolled."""
    power: Power
    up: bool
    """It lets us in and shows a key that the site signed."""
    up_since: datetime | None
    reason: str
    """Why it is not up, or empty."""
    reached_by: str

    @property
    def right(self) -> bool:
        """Whether it is as the definition has it: an active host is up."""
        return self.up or self.defined is not HostState.ACTIVE


class SiteStatus(Frozen):
    """One site as it is."""

    name: str
    title: str
    boot_service: str
    """``running``, ``stopped`` or ``not needed``."""
    deploys: Mapping[str, int]
    """Number of deploys by state."""
    hosts: tuple[HostStatus, ...]


class FacilityStatus(Frozen):
    """A facility as it is."""

    facility: str
    hardware: str
    """``racks``, ``lab`` or ``twin``."""
    condition: str
    """Of emulated hardware: ``up``, ``down`` or what is wrong with it; empty for racks."""
    sites: tuple[SiteStatus, ...]
    degraded: tuple[str, ...]
    """Everything that is not as the definition has it; empty: all is well."""


def troubles(sites: tuple[SiteStatus, ...], *, condition: str) -> tuple[str, ...]:
    """Everything that is not as the definition has it."""
    found = [] if condition in {"", "up"} else [f"the emulated hardware is {condition}"]
    for site in sites:
        if site.boot_service == "stopped":
            found.append(f"site {site.name}: the boot service is stopped")
        found += [f"host {host.name}: {host.reason or 'not up'}" for host in site.hosts if not host.right]
    return tuple(found)


def records(state: Path, facility: Facility) -> dict[Serial, MachineRecord]:
    """What our store knows of the facility's machines; nothing where there is no store yet."""
    path = state / "store.db"
    if not path.is_file():
        return {}
    store = open_store(path)
    try:
        return {serial: record for site in facility.sites for serial, record in machines_of(store, site.name).items()}
    finally:
        store.close()


async def observe_site(
    site: Site,
    state: Path,
    *,
    known: Mapping[Serial, MachineRecord],
    detours: Detours = NO_DETOURS,
    systems: bool = True,
) -> tuple[HostStatus, ...]:
    """Status of every host of the site; without ``systems`` (the twin) a host is up since it was deployed."""
    power_by_serial, uptime_by_host = await asyncio.gather(
        _power(site, state, detours), _uptimes(site, state, detours, UPTIME if systems else STAMP)
    )
    now = datetime.now(UTC)
    return tuple(
        _host(host, known.get(host.machine), power_by_serial.get(host.machine), uptime_by_host.get(host.name), now=now)
        for host in site.hosts
    )


def unobserved_site(site: Site, *, known: Mapping[Serial, MachineRecord], reason: str) -> tuple[HostStatus, ...]:
    """Status of every host of a site whose hardware is not there to be asked."""
    nobody = PachonError(reason)
    now = datetime.now(UTC)
    return tuple(_host(host, known.get(host.machine), None, nobody, now=now) for host in site.hosts)


def _host(
    host: Host,
    record: MachineRecord | None,
    power: Inventory | PachonError | None,
    uptime: timedelta | PachonError | None,
    *,
    now: datetime,
) -> HostStatus:
    reason = ""
    up_since = None
    match uptime:
        case timedelta():
            up_since = now - uptime
        case PachonError():
            reason = uptime.message
    if record is not None and record.reason and up_since is None:
        reason = record.reason
    if up_since is None and isinstance(power, Inventory) and power.power.value != "On":
        reason = reason if record is not None and record.reason else "its machine is off"
    return HostStatus(
        name=host.name,
        site=host.site,
        machine=host.machine,
        defined=host.state,
        life="" if record is None else record.state.value,
        power=_power_of(power),
        up=up_since is not None,
        up_since=up_since.replace(microsecond=0) if up_since else None,
        reason=reason if host.state is HostState.ACTIVE else "",
        reached_by=f"pachon host ssh {host.name}" if up_since else "",
    )


def _power_of(found: Inventory | PachonError | None) -> Power:
    match found:
        case None:
            return "unknown"
        case Inventory():
            return "on" if found.power.value == "On" else "off"
        case _:
            return "no answer"


async def _power(site: Site, state: Path, detours: Detours) -> Mapping[Serial, Inventory | PachonError]:
    try:
        return await inspect_site(site, state, detours)
    except PachonError as error:
        return {} if not (state / "secrets").is_dir() else {machine.serial: error for machine in site.machines}


async def _uptimes(
    site: Site, state: Path, detours: Detours, question: str
) -> Mapping[HostName, timedelta | PachonError]:
    """How long each active host is up, or why it does not say."""
    credentials = Credentials.of_state(state)

    async with Fleet(credentials) as fleet:

        async def ask(host: Host) -> tuple[HostName, timedelta | PachonError]:
            address = str(site.machine_by_serial[host.machine].management_address)
            door = detours.get(address)
            where, port = (address, 22) if door is None else (door.host, door.port)
            try:
                async with asyncio.timeout(ANSWER_SECONDS * 2):
                    session = await fleet.host(where, port=port, alias=address)
                    told = await session.run(question, timeout=timedelta(seconds=ANSWER_SECONDS))
                return host.name, _uptime(told)
            except TimeoutError:
                return host.name, PachonError("it lets us in but does not answer")
            except (ValueError, KeyError, TypeError):
                return host.name, PachonError("it answers nonsense")
            except PachonError as error:
                return host.name, error

        if not credentials.known_hosts.is_file():
            return {host.name: PachonError("nothing was deployed yet") for host in site.active_hosts}
        return dict(await asyncio.gather(*(ask(host) for host in site.active_hosts)))


def _uptime(told: str) -> timedelta:
    """The uptime in an answer to either question."""
    if told.lstrip().startswith("{"):
        return datetime.now(UTC) - datetime.fromisoformat(json.loads(told)["at"])
    return timedelta(seconds=int(told))
