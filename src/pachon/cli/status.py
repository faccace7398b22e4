"""``pachon status``: sites and hosts as they are now."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, example, verb
from pachon.errors import ExitCode, PachonError

if TYPE_CHECKING:
    from pachon.model.facility import Facility, Site
    from pachon.status import FacilityStatus, HostStatus, SiteStatus

app = verb()


@app.command(cls=Command, epilog=example("pachon status", "pachon status --site base --json"))
def status(ctx: typer.Context) -> Answer:
    """Show sites and hosts as they are: power, since when they are up, how they are reached.

    Asks every BMC and every active host. Exit status 4 when something is not as the definition has it.
    """
    call = Call.of(ctx)
    facility = call.facility()
    observed = asyncio.run(_observe(facility, call.sites(facility)))
    return _answer(observed)


async def _observe(facility: "Facility", sites: "tuple[Site, ...]") -> "FacilityStatus":
    from pachon.ground import hardware
    from pachon.status import FacilityStatus, observe_site, records, troubles, unobserved_site

    state = places.state(facility.name)
    stands = await hardware(facility, state)
    known = records(state, facility)
    found: list[SiteStatus] = []
    for site in sites:
        if stands.reachable:
            systems = stands.kind != "twin"
            hosts = await observe_site(site, state, known=known, detours=stands.detours, systems=systems)
        else:
            hosts = unobserved_site(site, known=known, reason=f"the {stands.kind} is {stands.condition}")
        found.append(await _site(site, state, hosts))
    return FacilityStatus(
        facility=facility.name,
        hardware=stands.kind,
        condition=stands.condition,
        sites=tuple(found),
        degraded=troubles(tuple(found), condition=stands.condition),
    )


async def _site(site: "Site", state: Path, hosts: "tuple[HostStatus, ...]") -> "SiteStatus":
    from datetime import timedelta

    from infra.boot import launch
    from infra.boot.client import BootClient
    from pachon.status import SiteStatus

    deploys: Counter[str] = Counter()
    running = launch.is_running(state, site.name)
    if running:
        try:
            async with BootClient(launch.admin_socket(state, site.name), patience=timedelta(seconds=3)) as client:
                deploys.update(deploy.state.value for deploy in await client.all())
        except PachonError:
            running = False
    word = "running" if running else "stopped" if site.active_hosts else "not needed"
    return SiteStatus(name=site.name, title=site.title, boot_service=word, deploys=dict(deploys), hosts=hosts)


def _answer(observed: "FacilityStatus") -> Answer:
    now = datetime.now(UTC)
    head = {"facility": observed.facility, "hardware": observed.hardware}
    text: list[Part] = [facts({**head, "condition": observed.condition} if observed.condition else head)]
    for site in observed.sites:
        deploys = ", ".join(f"{number} {state}" for state, number in sorted(site.deploys.items()))
        text += ["", f"{site.name} ({site.title})", f"boot service {site.boot_service}; deploys: {deploys or 'none'}"]
        rows = [
            (host.name, host.machine, host.defined.value, host.life, host.power, _since(host.up_since, now))
            for host in site.hosts
            if host.right is False or host.up or host.defined.value == "active"
        ]
        text.append(Table(("host", "machine", "defined", "life", "power", "up for"), rows, empty="no active host"))
        planned = len(site.hosts) - len(rows)
        if planned:
            text.append(f"and {planned} planned hosts")
    if observed.degraded:
        text += ["", *(f"degraded: {trouble}" for trouble in observed.degraded)]
    return Answer(
        value=observed,
        text=text,
        exit_code=ExitCode.DEGRADED if observed.degraded else ExitCode.DONE,
        talk=["'pachon up' brings it to what the definition says"] if observed.degraded else [_hint(observed)],
    )


def _hint(observed: "FacilityStatus") -> str:
    up = [host for site in observed.sites for host in site.hosts if host.up]
    return f"log in with: {up[0].reached_by}" if up else "no host is active"


def _since(up_since: datetime | None, now: datetime) -> str:
    if up_since is None:
        return "not up"
    seconds = int((now - up_since).total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"
