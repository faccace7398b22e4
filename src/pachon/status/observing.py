"""Makes a facility's status: asks all sites side by side, remembers who answered, and says since when others do not."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pachon import places
from pachon.definition import catalogue
from pachon.definition.status import Status, status_of
from pachon.errors import PachonError
from pachon.ground import Stands, hardware
from pachon.layers import served
from pachon.model.facility import Facility, HostName, Serial, Site
from pachon.progress import silent
from pachon.status import folding
from pachon.status.asking import ANSWER_SECONDS, Heard, ask, statuses, unasked
from pachon.status.facts import FacilityStatus, HostStatus, Served, SiteStatus
from pachon.store.database import Store, open_if_there
from pachon.store.machines import MachineRecord, machines_of
from pachon.store.releases import all_in_force
from pachon.store.sightings import last_seen, saw


@dataclass(frozen=True)
class Observer:
    """How a facility is looked at."""

    facility: Facility
    state: Path
    seconds: float = ANSWER_SECONDS
    """How long all that is asked may take to answer."""
    definition: str = ""
    """Why the definition cannot be used, where the facility is the one that was last built."""

    async def observe(self, sites: Sequence[Site], campaign: dict[str, Any] | None = None) -> FacilityStatus:
        """Status of the facility, with those sites; in a few seconds, whoever does not answer."""
        stands = await hardware(self.facility, self.state)
        records, seen, in_force = self._remembered()
        heard = await asyncio.gather(*(self._ask(site, stands) for site in sites))
        now = datetime.now(UTC)
        by_site = [
            (site, answers, statuses(site, answers, known=records, seen=seen, now=now))
            for site, answers in zip(sites, heard, strict=True)
        ]
        found = [await self._site(site, listed, answers) for site, answers, listed in by_site]
        hosts = [host for _, _, listed in by_site for host in listed]
        self._remember(hosts)
        services = catalogue.read().services
        proven = [name for name, service in services.items() if status_of(service) is Status.WORKS]
        here = {site.name for site in sites}
        links = tuple(link for link in folding.links_of(self.facility, _links(heard)) if here & {*link.sites})
        return FacilityStatus(
            facility=self.facility.name,
            definition=self.definition,
            hardware=stands.kind,
            condition=stands.condition,
            sites=tuple(found),
            enclaves=folding.enclaves_of(self.facility, hosts),
            services=tuple(
                service
                for service in folding.services_of(self.facility, hosts, services, proven, in_force=in_force)
                if service.site in here
            ),
            links=links,
            ways_in=folding.ways_in(self.facility, sites),
            campaign=campaign,
            degraded=folding.troubles(found, condition=stands.condition, definition=self.definition, links=links),
        )

    async def _ask(self, site: Site, stands: Stands) -> Heard:
        if not stands.reachable:
            return unasked(site, f"the {stands.kind} is {stands.condition}")
        systems = stands.kind != "twin"
        return await ask(self.facility, site, self.state, detours=stands.detours, systems=systems, seconds=self.seconds)

    async def _site(self, site: Site, hosts: tuple[HostStatus, ...], heard: Heard) -> SiteStatus:
        condition = folding.condition_of(hosts, answered=heard.anything or not heard.asked)
        boot_service, deploys = await _boot_service(self.state, site)
        moments = [host.seen_at for host in hosts if host.seen_at is not None]
        return SiteStatus(
            name=site.name,
            title=site.title,
            condition=condition,
            since=max(moments, default=None) if condition == "unknown" else None,
            boot_service=boot_service,
            deploys=deploys,
            hosts=hosts,
            served=await _served(self.state, site),
        )

    def _remembered(self) -> tuple[dict[Serial, MachineRecord], dict[HostName, datetime], folding.InForce]:
        """What our store knows of machines, when each host last let us in, and which versions are in force where."""
        store = self._store()
        if store is None:
            return {}, {}, {}
        try:
            names = [site.name for site in self.facility.sites]
            records = {serial: found for name in names for serial, found in machines_of(store, name).items()}
            return records, last_seen(store), all_in_force(store)
        finally:
            store.close()

    def _remember(self, hosts: Sequence[HostStatus]) -> None:
        up = {host.name: host.seen_at for host in hosts if host.up and host.seen_at is not None}
        store = self._store() if up else None
        if store is not None:
            try:
                saw(store, up)
            finally:
                store.close()

    def _store(self) -> Store | None:
        return open_if_there(places.store(self.state))


def _links(heard: Sequence[Heard]) -> dict[str, bool]:
    """Whether each link carries: it does when either of its ends says so."""
    found: dict[str, bool] = {}
    for answers in heard:
        for name, carries in answers.links.items():
            found[name] = found.get(name, False) or carries
    return found


async def _served(state: Path, site: Site) -> Served | None:
    """What the site's server says of itself."""
    server = await served.found(state, site.name, silent)
    if server is None:
        return None
    told = server.hello
    return Served(
        holder=told.holder,
        since=told.since,
        open=told.open,
        looked_at=told.looked_at,
        drift=told.drift,
        silent=len(told.unknown),
    )


async def _boot_service(state: Path, site: Site) -> tuple[str, dict[str, int]]:
    """Whether the site's boot service runs, and the number of its deploys by state."""
    from infra.boot import launch
    from infra.boot.client import BootClient

    deploys: Counter[str] = Counter()
    running = await asyncio.to_thread(launch.is_running, state, site.name)
    if running:
        try:
            async with BootClient(launch.admin_socket(state, site.name), patience=timedelta(seconds=3)) as client:
                deploys.update(deploy.state.value for deploy in await client.all())
        except PachonError:
            running = False
    return "running" if running else "stopped" if site.active_hosts else "not needed", dict(deploys)
