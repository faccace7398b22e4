"""``pachon status``: a facility as it is now."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, example, verb
from pachon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pachon.model.facility import Facility
    from pachon.status import FacilityStatus, HostStatus, SiteStatus

app = verb()


@app.command(cls=Command, epilog=example("pachon status", "pachon status --site base --json"))
def status(
    ctx: typer.Context,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long anything may take to answer.")] = 8,
) -> Answer:
    """Show sites, enclaves, hosts, services and links as they are, how hosts are reached, and the last campaign.

    Asks every BMC and every active host. A site of which nothing answers is unknown since it last did. What stands is
    shown also where its definition has a mistake. Exit status 4 when something is not as the definition has it.
    """
    from pachon.status import Observer

    call = Call.of(ctx)
    facility, complaint = _facility(call)
    observer = Observer(facility, places.state(facility.name), seconds=wait, definition=complaint)
    return _answer(asyncio.run(observer.observe(call.sites(facility), _campaign(facility))))


def _facility(call: Call) -> "tuple[Facility, str]":
    """The facility, and why its definition cannot be used where it is only the one that was last built.

    Raises:
        UsageError: the definition cannot be used, and nothing of it was ever built here.
    """
    from pachon import known

    try:
        return call.facility(), ""
    except UsageError as error:
        name = known.name_of(call.wanted)
        kept = None if name is None else known.known(places.state(name))
        if kept is None:
            raise
        return kept.facility, error.message


def _campaign(facility: "Facility") -> dict[str, Any] | None:
    """The facility's latest campaign."""
    from pachon.batch.watching import summaries

    found = summaries(places.state(facility.name))
    return found[0].model_dump(mode="json") if found else None


def _answer(observed: "FacilityStatus") -> Answer:
    now = datetime.now(UTC)
    head = {"facility": observed.facility, "hardware": observed.hardware}
    text: list[Part] = [facts({**head, "condition": observed.condition} if observed.condition else head)]
    for site in observed.sites:
        text += ["", f"{site.name} ({site.title}): {_site(site)}", *_served(site, now), *_hosts(site, now)]
    text += ["", *_enclaves(observed), *_services(observed), *_links(observed), *_campaign_lines(observed)]
    text += [f"{way.who} to {way.site}: {way.command}" for way in observed.ways_in]
    if observed.degraded:
        text += ["", *(f"degraded: {trouble}" for trouble in observed.degraded)]
    return Answer(
        value=observed,
        text=text,
        exit_code=ExitCode.DEGRADED if observed.degraded else ExitCode.DONE,
        talk=[_hint(observed)],
    )


def _site(site: "SiteStatus") -> str:
    said: str = site.condition
    if site.condition == "unknown":
        said += f" since {site.since:%Y-%m-%d %H:%M:%S} UTC" if site.since is not None else ", never heard of"
    deploys = ", ".join(f"{number} {state}" for state, number in sorted(site.deploys.items()))
    return f"{said}; boot service {site.boot_service}; deploys: {deploys or 'none'}"


def _served(site: "SiteStatus", now: datetime) -> list[Part]:
    if (found := site.served) is None:
        return []
    said = f"served by {found.holder}: {found.open} channels open"
    if found.looked_at is None:
        return [f"{said}, not looked yet"]
    age = int((now - found.looked_at).total_seconds())
    number = f"{found.drift} difference{'' if found.drift == 1 else 's'}" if found.drift else "nothing differed"
    return [f"{said}; {age} s ago {number}" + (f", {found.silent} hosts were silent" if found.silent else "")]


def _hosts(site: "SiteStatus", now: datetime) -> list[Part]:
    shown = [host for host in site.hosts if host.condition != "planned" or host.up]
    rows = [(host.name, host.machine, host.enclave, host.condition, host.power, _since(host, now)) for host in shown]
    headings = ("host", "machine", "enclave", "condition", "power", "up for")
    planned = len(site.hosts) - len(shown)
    table = Table(headings, rows, folds=("up for",), empty="no active host")
    return [table, f"and {planned} planned hosts"] if planned else [table]


def _enclaves(observed: "FacilityStatus") -> list[Part]:
    rows = [
        (enclave.name, segment.site, str(segment.subnet), segment.gateway, f"{segment.up}/{segment.total}")
        for enclave in observed.enclaves
        for segment in enclave.segments
    ]
    return [Table(("enclave", "site", "segment", "gateway", "hosts up"), rows, empty="no enclave has a segment")]


def _services(observed: "FacilityStatus") -> list[Part]:
    rows = [
        (each.service, each.site, each.enclave, each.condition, each.proven, each.hosts) for each in observed.services
    ]
    headings = ("service", "site", "enclave", "condition", "proven", "hosts")
    rolled = [(each.service, each.site, each.enclave, each.versions) for each in observed.services if each.versions]
    in_force: list[Part] = ["", Table(("in force", "site", "enclave", "version"), rolled)] if rolled else []
    return ["", Table(headings, rows, folds=("hosts",)), *in_force] if rows else []


def _links(observed: "FacilityStatus") -> list[Part]:
    rows = [
        (link.name, " - ".join(link.sites), link.rate_mbps, link.delay_ms, link.condition) for link in observed.links
    ]
    return ["", Table(("link", "sites", "mbit/s", "ms one way", "condition"), rows)] if rows else []


def _campaign_lines(observed: "FacilityStatus") -> list[Part]:
    found = observed.campaign
    if found is None:
        return [""]
    lines: list[Part] = ["", f"campaign {found['name']}: {found['state']}, {found['done']} of {found['quanta']} quanta"]
    for site in found["sites"]:
        since = f" since {datetime.fromisoformat(site['since']):%Y-%m-%d %H:%M:%S} UTC" if site["since"] else ""
        counts = ", ".join(f"{number} {state}" for state, number in site["counts"].items())
        lines.append(f"  {site['site']}: {site['condition']}{since}: {counts or 'nothing yet'}")
    if found["report"]:
        lines.append(f"  report: {found['report']}")
    return [*lines, ""]


def _hint(observed: "FacilityStatus") -> str:
    if observed.degraded:
        return "'pachon up' brings it to what the definition says"
    up = [host for site in observed.sites for host in site.hosts if host.up]
    return f"log in with: {up[0].reached_by}" if up else "no host is active"


def _since(host: "HostStatus", now: datetime) -> str:
    if host.up_since is None:
        return f"last seen {host.seen_at:%Y-%m-%d %H:%M:%S} UTC" if host.seen_at is not None else "not up"
    seconds = int((now - host.up_since).total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"
