"""Drift of a facility: every difference between what roles left on hosts and what is there now, and who owns it."""

import asyncio
import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pachon import places, secrets
from pachon.drivers.probe import Probe
from pachon.drivers.run_file import Endpoint
from pachon.drivers.ssh import Credentials
from pachon.errors import MissingError, RefusedError, UsageError
from pachon.ground import standing
from pachon.layers import served
from pachon.layers.sight import Sight, address_of, asked_of, manifests_of
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Site
from pachon.progress import Progress, silent
from pachon.store.database import Store, open_store
from pachon.store.drift import Acceptance, accept
from pachon.store.receipts import receipts_under, versions_under
from pachon.store.sightings import last_seen

NEVER = "nothing was recorded there yet"


class Accepted(Frozen):
    """An owner's word that a difference may be."""

    reason: str
    by: str
    until: datetime


class Drift(Frozen):
    """One aspect of one subject that is not as a role left it."""

    address: str
    """``<site>/host/<host>/<kind>:<name>``: what ``pachon drift accept`` takes."""
    site: str
    host: str
    kind: str
    name: str
    aspect: str
    expected: str
    seen: str
    role: str
    task: str
    """Of the role: what owns the subject."""
    since: datetime
    """When it was first seen."""
    accepted: Accepted | None = None


class Unknown(Frozen):
    """A host of which it is not known whether it has drifted."""

    site: str
    host: str
    why: str
    since: datetime | None
    """When it last let us in."""


class Report(Frozen):
    """What was seen of a facility."""

    facility: str
    hosts: int
    """That answered."""
    drift: tuple[Drift, ...]
    unknown: tuple[Unknown, ...]
    inexpressible: tuple[str, ...]
    """Tasks (``<site>/host/<host>/role/<role>: <task>``) of which nobody can say what they left."""
    as_of: datetime
    """When hosts were looked at: now, or by their server."""

    @property
    def open(self) -> tuple[Drift, ...]:
        """What nobody has accepted."""
        return tuple(each for each in self.drift if each.accepted is None)


async def find(
    facility: Facility, sites: Sequence[Site], state: Path, *, progress: Progress = silent, known: bool = False
) -> Report:
    """What all hosts of these sites have, asked side by side; or, if ``known``, what their servers saw last.

    Raises:
        MissingError: the emulated hardware is not up; or nobody serves a site, and what is known was asked for.
        RefusedError: it is the twin's, where nothing was recorded.
    """
    stands = await standing(facility, state)
    store = open_store(places.store(state))
    try:
        if stands.kind == "twin" and not any(versions_under(store, f"{site.name}/host/") for site in sites):
            raise RefusedError(
                f"{facility.name!r} stands on the twin, whose machines carry no operating systems",
                cure="'pachon doctor' says what this machine lacks for the real lab",
            )
        if known:
            told = await asyncio.gather(*(_known(site, state) for site in sites))
            moments = [each.at for each in told if each.at is not None]
            as_of, sights = min(moments), [each.sight for each in told]
        else:
            as_of = datetime.now(UTC)
            sights = list(
                await asyncio.gather(*(_look(site, store, state, stands.detours, progress) for site in sites))
            )
        seen = dict(zip(sites, sights, strict=True))
        return await asyncio.to_thread(_report, facility, seen, store, as_of=as_of)
    finally:
        store.close()


async def _look(site: Site, store: Store, state: Path, detours: Mapping[str, Endpoint], progress: Progress) -> Sight:
    credentials, key = Credentials.of_state(state), secrets.key_of_digests(state)
    return await served.look(
        served.LookAt(asked=asked_of(site), doors=dict(detours)),
        server=await served.found(state, site.name, progress),
        store=store,
        probe=Probe(credentials, key=key, detours=detours),
        progress=progress,
    )


async def _known(site: Site, state: Path) -> served.Known:
    server = await served.find(state, site.name)
    known = None if server is None else await server.known()
    if known is None or known.at is None:
        why = "nobody serves it" if server is None else "its server has not looked yet"
        raise MissingError(
            f"nothing is known of {site.name}: {why}", cure="'pachon drift' looks; 'pachon serve' watches"
        )
    return known


def _report(facility: Facility, sights: dict[Site, Sight], store: Store, *, as_of: datetime) -> Report:
    seen, now = last_seen(store), datetime.now(UTC)
    drift: list[Drift] = []
    unknown: list[Unknown] = []
    inexpressible: list[str] = []
    hosts = 0
    for site, sight in sights.items():
        receipts = receipts_under(store, f"{site.name}/host/")
        manifests = manifests_of(site, receipts)
        silent = {**{host.name: NEVER for host in site.active_hosts if host.name not in manifests}, **sight.unanswered}
        hosts += len(site.active_hosts) - len(silent)
        unknown += [Unknown(site=site.name, host=name, why=why, since=seen.get(name)) for name, why in silent.items()]
        drift += _drift(site, sight, now)
        for host, roles in manifests.items():
            for role, manifest in roles.items():
                inexpressible += [f"{site.name}/host/{host}/role/{role}: {task}" for task in manifest.unknown]
    return Report(
        facility=facility.name,
        hosts=hosts,
        drift=tuple(drift),
        unknown=tuple(unknown),
        inexpressible=tuple(inexpressible),
        as_of=as_of,
    )


def _drift(site: Site, sight: Sight, now: datetime) -> list[Drift]:
    told = []
    for each in sight.differences:
        given = sight.acceptance(site.name, each, now=now)
        told.append(
            Drift(
                address=address_of(site.name, each),
                site=site.name,
                host=each.host,
                kind=each.kind,
                name=each.name,
                aspect=each.aspect,
                expected=each.expected,
                seen=each.seen,
                role=each.role,
                task=each.task,
                since=sight.since[each.host][each.key],
                accepted=None if given is None else Accepted(reason=given.reason, by=given.by, until=given.until),
            )
        )
    return told


def take(report: Report, address: str, *, reason: str, until: datetime, state: Path) -> Acceptance:
    """The acceptance of what was seen at this address, now kept.

    Raises:
        UsageError: there is no drift at this address, or the moment has passed.
    """
    found = [each for each in report.drift if each.address == address]
    if not found:
        raise UsageError(f"there is no drift at {address!r}", cure="'pachon drift' lists what there is, with addresses")
    if until <= datetime.now(UTC):
        raise UsageError(f"{until:%Y-%m-%d %H:%M} UTC has passed", cure="name a day to come: what is accepted ends")
    given = Acceptance(
        address=address,
        reason=reason,
        by=getpass.getuser(),
        until=until,
        seen={each.aspect: each.seen for each in found},
    )
    store = open_store(places.store(state))
    try:
        accept(store, found[0].site, given)
    finally:
        store.close()
    return given
