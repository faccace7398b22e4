"""Asks every BMC and every active host of a site, side by side and within one limit: a cut site holds nothing up.

What hosts answer is asked over SSH with our certificates, so "up" means: the right host, and it lets us in.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pachon.bmcs import NO_DETOURS, Detours, power_by_serial
from pachon.drivers.redfish import Power as BmcPower
from pachon.drivers.ssh import Credentials, Fleet
from pachon.errors import PachonError
from pachon.model.facility import Facility, Host, HostName, HostState, Serial, Site
from pachon.model.interfaces import GATEWAY_GROUP
from pachon.status.facts import HostCondition, HostStatus, Power
from pachon.store.machines import MachineRecord

ANSWER_SECONDS = 8.0
"""For everything that is asked, side by side."""
CLOSE_SECONDS = 1.0
PING_SECONDS = 2
BASICS = (
    "echo up $(ps -o etimes= -p 1); "
    "systemctl list-units --state=failed --plain --no-legend --no-pager | while read unit rest; do "
    'echo failed "$unit"; done'
)
"""Seconds since the host's first process began (right in containers too, where /proc/uptime is the machine's), and
what has failed."""
STAMP = "cat /etc/pachon/stamp.json"

BMC, HOST = "bmc", "host"


@dataclass(frozen=True)
class Told:
    """What a host said of itself."""

    uptime: timedelta
    failed_units: tuple[str, ...] = ()
    links: Mapping[str, bool] = field(default_factory=dict)
    """Of a gateway: whether the other end of each link answered."""


Answer = Told | BmcPower | PachonError


@dataclass(frozen=True)
class Heard:
    """What came of asking a site."""

    hosts: Mapping[HostName, Told | PachonError]
    power: Mapping[Serial, BmcPower | PachonError]
    asked: bool = True
    """Whether there was anything to be asked."""

    @property
    def anything(self) -> bool:
        """Whether anything at all answered."""
        answers = [*self.hosts.values(), *self.power.values()]
        return any(not isinstance(answer, PachonError) for answer in answers)

    @property
    def links(self) -> dict[str, bool]:
        """Of every link that could be tried from here, whether the other end answered."""
        return {
            name: carried
            for told in self.hosts.values()
            if isinstance(told, Told)
            for name, carried in told.links.items()
        }


async def ask(
    facility: Facility,
    site: Site,
    state: Path,
    *,
    detours: Detours = NO_DETOURS,
    systems: bool = True,
    seconds: float = ANSWER_SECONDS,
) -> Heard:
    """What every BMC and every active host of the site answers within so many seconds.

    Where nobody has said anything after half of them, nobody will. Without ``systems`` (the twin) a host is up since it
    was deployed.
    """
    credentials = Credentials.of_state(state)
    deployed = credentials.known_hosts.is_file()
    fleet = Fleet(credentials)
    power, unpowered = _power(site, state, detours)
    hosts = {
        host.name: _ask_host(fleet, site, host, detours, _question(facility, site, host) if systems else STAMP)
        for host in (site.active_hosts if deployed else ())
    }
    asked: dict[tuple[str, str], Awaitable[Answer]] = {
        **{(BMC, serial): each for serial, each in power.items()},
        **{(HOST, name): hosts[name] for name in hosts},
    }
    try:
        answers = await _within(seconds, asked)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await fleet.__aexit__(None, None, None)
    nobody = PachonError("nothing was deployed yet")
    told = {} if deployed else dict.fromkeys((host.name for host in site.active_hosts), nobody)
    return Heard(
        hosts={
            **told,
            **{name: each for (kind, name), each in answers.items() if kind == HOST and not isinstance(each, BmcPower)},
        },
        power={
            **unpowered,
            **{name: each for (kind, name), each in answers.items() if kind == BMC and not isinstance(each, Told)},
        },
        asked=deployed,
    )


def unasked(site: Site, reason: str) -> Heard:
    """As ``ask``, where there is nothing to be asked."""
    nobody = PachonError(reason)
    return Heard(dict.fromkeys((host.name for host in site.hosts), nobody), {}, asked=False)


def statuses(
    site: Site,
    heard: Heard,
    *,
    known: Mapping[Serial, MachineRecord],
    seen: Mapping[HostName, datetime],
    now: datetime,
) -> tuple[HostStatus, ...]:
    """Status of every host of the site; ``seen`` is when each last let us in."""
    return tuple(
        _status(site, host, heard, record=known.get(host.machine), seen=seen.get(host.name), now=now)
        for host in site.hosts
    )


def _status(
    site: Site, host: Host, heard: Heard, *, record: MachineRecord | None, seen: datetime | None, now: datetime
) -> HostStatus:
    told = heard.hosts.get(host.name)
    power = heard.power.get(host.machine)
    up_since = (now - told.uptime).replace(microsecond=0) if isinstance(told, Told) else None
    reason = told.message if isinstance(told, PachonError) else ""
    if record is not None and record.reason and up_since is None:
        reason = record.reason
    elif up_since is None and power is BmcPower.FORCE_OFF:
        reason = "its machine is off"
    if isinstance(told, Told):
        seen = now.replace(microsecond=0)
    elif record is not None and record.address == f"{site.name}/host/{host.name}" and record.state.value == "active":
        seen = max(seen or record.since, record.since)
    failed = told.failed_units if isinstance(told, Told) else ()
    return HostStatus(
        name=host.name,
        site=host.site,
        enclave=host.enclave,
        groups=host.groups,
        address=host.address,
        management_address=site.machine_by_serial[host.machine].management_address,
        machine=host.machine,
        defined=host.state,
        life="" if record is None else record.state.value,
        power=_power_of(power),
        condition=_condition(host, told, heard, failed),
        up=up_since is not None,
        up_since=up_since,
        seen_at=seen,
        failed_units=failed,
        reason=reason if host.state is HostState.ACTIVE else "",
        reached_by=f"pachon host ssh {host.name}" if up_since else "",
    )


def _condition(host: Host, told: Told | PachonError | None, heard: Heard, failed: tuple[str, ...]) -> HostCondition:
    if host.state is not HostState.ACTIVE:
        return "planned"
    if isinstance(told, Told):
        return "degraded" if failed else "up"
    return "down" if heard.anything or not heard.asked else "unknown"


def _power_of(found: BmcPower | PachonError | None) -> Power:
    match found:
        case None:
            return "unknown"
        case BmcPower():
            return "on" if found is BmcPower.ON else "off"
        case _:
            return "no answer"


def _power(
    site: Site, state: Path, detours: Detours
) -> tuple[Mapping[Serial, Awaitable[BmcPower | PachonError]], Mapping[Serial, PachonError]]:
    """What asks each BMC; or why none can be asked."""
    try:
        return power_by_serial(site, state, detours), {}
    except PachonError as error:
        known = (state / "secrets").is_dir()
        return {}, dict.fromkeys((machine.serial for machine in site.machines), error) if known else {}


async def _ask_host(fleet: Fleet, site: Site, host: Host, detours: Detours, question: str) -> Told | PachonError:
    address = str(site.machine_by_serial[host.machine].management_address)
    door = detours.get(address)
    where, port = (address, 22) if door is None else (door.host, door.port)
    try:
        session = await fleet.host(where, port=port, alias=address)
        return _read(await session.run(question))
    except (ValueError, KeyError, TypeError):
        return PachonError("it answers nonsense")
    except PachonError as error:
        return error


async def _within(seconds: float, asked: Mapping[tuple[str, str], Awaitable[Answer]]) -> dict[tuple[str, str], Answer]:
    """What came of each within so many seconds, the others being given up; within half, if nobody answers at all."""
    tasks = {name: asyncio.ensure_future(each) for name, each in asked.items()}
    if tasks:
        done, silent = await asyncio.wait(tasks.values(), timeout=seconds / 2)
        if silent and any(not isinstance(task.result(), PachonError) for task in done):
            await asyncio.wait(silent, timeout=seconds / 2)
    late = PachonError(f"no answer within {seconds:g} s")
    found: dict[tuple[str, str], Answer] = {}
    for name, task in tasks.items():
        found[name] = task.result() if task.done() else late
        task.cancel()
    return found


def _question(facility: Facility, site: Site, host: Host) -> str:
    if GATEWAY_GROUP not in host.groups:
        return BASICS
    tries = [
        f"sudo -n ping -c 1 -W {PING_SECONDS} -q {address} >/dev/null 2>&1 && echo hears {name} || echo misses {name}"
        for name, address in _far_ends(facility, site)
    ]
    return "; ".join([BASICS, *tries])


def _far_ends(facility: Facility, site: Site) -> Iterable[tuple[str, str]]:
    for link in facility.links:
        if site.name in link.sites:
            address = link.address_at(link.other_end(site.name))
            if address is not None:
                yield link.name, str(address)


def _read(said: str) -> Told:
    """What a host said, of either question.

    Raises:
        ValueError, KeyError, TypeError: it is nothing of the kind.
    """
    if said.lstrip().startswith("{"):
        return Told(datetime.now(UTC) - datetime.fromisoformat(json.loads(said)["at"]))
    words = [line.split(maxsplit=1) for line in said.splitlines() if line.strip()]
    by_kind: dict[str, list[str]] = {}
    for word, *rest in words:
        by_kind.setdefault(word, []).append(rest[0] if rest else "")
    links = dict.fromkeys(by_kind.get("misses", ()), False) | dict.fromkeys(by_kind.get("hears", ()), True)
    return Told(
        uptime=timedelta(seconds=int(by_kind["up"][0])),
        failed_units=tuple(sorted(by_kind.get("failed", ()))),
        links=links,
    )
