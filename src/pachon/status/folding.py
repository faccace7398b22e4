"""From hosts to everything else: enclaves, services, links and ways in, and what of it is not as it should be. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from pachon.model.facility import Facility, HostState, Link, Placement, Site
from pachon.model.service import Service
from pachon.status.facts import (
    EnclaveStatus,
    HostCondition,
    HostStatus,
    LinkCondition,
    LinkStatus,
    SegmentStatus,
    ServiceCondition,
    ServiceStatus,
    SiteCondition,
    SiteStatus,
    WayIn,
)

BASTION_GROUP = "bastion"
InForce = Mapping[tuple[str, str, str], str]
"""Versions by service, site and enclave."""
NOTHING: InForce = {}


def enclaves_of(facility: Facility, hosts: Iterable[HostStatus]) -> tuple[EnclaveStatus, ...]:
    """Every enclave with its segments, and how many of its active hosts are up in each."""
    active = [host for host in hosts if host.defined is HostState.ACTIVE]
    found: list[EnclaveStatus] = []
    for enclave in facility.enclaves:
        segments: list[SegmentStatus] = []
        for site in facility.sites:
            segment = site.segment(enclave.name)
            if segment is not None:
                here = [host.up for host in active if (host.site, host.enclave) == (site.name, enclave.name)]
                segments.append(
                    SegmentStatus(
                        site=site.name,
                        subnet=segment.subnet,
                        gateway=segment.gateway,
                        up=sum(here),
                        total=len(here),
                    )
                )
        found.append(EnclaveStatus(name=enclave.name, title=enclave.title, segments=tuple(segments)))
    return tuple(found)


def services_of(
    facility: Facility,
    hosts: Iterable[HostStatus],
    catalogue: Mapping[str, Service],
    proven: Iterable[str],
    *,
    in_force: InForce = NOTHING,
) -> tuple[ServiceStatus, ...]:
    """Every placed service with the hosts that carry it.

    ``proven`` names those whose tests are there, ``in_force`` the version of each place of which rollouts left one.
    """
    listed, known = list(hosts), set(proven)
    return tuple(
        _service(placement, listed, catalogue, known, versions=_versions(facility, placement, in_force))
        for placement in facility.placements
    )


def _versions(facility: Facility, placement: Placement, in_force: InForce) -> tuple[str, ...]:
    """Those of the instances on its hosts, or else the one of the place."""
    own = (placement.service, placement.enclave)
    there = facility.site(placement.site).instances
    found = {each.version for each in there if (each.service, each.enclave) == own and each.version}
    found |= set() if found else {in_force.get((placement.service, placement.site, placement.enclave), "")}
    return tuple(sorted(found - {""}))


def _service(
    placement: Placement,
    hosts: Iterable[HostStatus],
    catalogue: Mapping[str, Service],
    proven: set[str],
    *,
    versions: tuple[str, ...],
) -> ServiceStatus:
    carrying = [
        host
        for host in hosts
        if placement.group in host.groups
        and (host.site, host.enclave, host.defined) == (placement.site, placement.enclave, HostState.ACTIVE)
    ]
    entry = catalogue.get(placement.service)
    return ServiceStatus(
        service=placement.service,
        title=entry.title if entry is not None else placement.service,
        site=placement.site,
        enclave=placement.enclave,
        hosts=tuple(host.name for host in carrying),
        condition=_together([host.condition for host in carrying]),
        proven=placement.service in proven,
        versions=versions,
    )


def _together(conditions: list[HostCondition]) -> ServiceCondition:
    """One word for the hosts of a service."""
    if not conditions:
        return "planned"
    if set(conditions) == {"up"}:
        return "up"
    if "up" in conditions or "degraded" in conditions:
        return "degraded"
    return "unknown" if "unknown" in conditions else "down"


def links_of(facility: Facility, heard: Mapping[str, bool]) -> tuple[LinkStatus, ...]:
    """Every link; ``heard`` says of those that a gateway could try whether the other end answered."""
    return tuple(
        LinkStatus(
            name=link.name,
            sites=link.sites,
            rate_mbps=link.rate_mbps,
            delay_ms=link.delay_ms,
            condition=_carries(link, heard),
        )
        for link in facility.links
    )


def _carries(link: Link, heard: Mapping[str, bool]) -> LinkCondition:
    if link.subnet is None:
        return "not ours"
    if link.name not in heard:
        return "unknown"
    return "carries" if heard[link.name] else "cut"


def ways_in(facility: Facility, sites: Iterable[Site]) -> tuple[WayIn, ...]:
    """How automation and people get at the hosts of each site: people through a bastion, their own site's first."""
    doors = [
        (site.name, site.machine_by_serial[host.machine].management_address)
        for site in facility.sites
        for host in site.active_hosts
        if BASTION_GROUP in host.groups
    ]
    found: list[WayIn] = []
    for site in sites:
        if not site.active_hosts:
            continue
        found.append(WayIn(site=site.name, who="automation", command="pachon host ssh HOST"))
        nearest = sorted(doors, key=lambda door: door[0] != site.name)
        if nearest:
            command = f"ssh -J PERSON@{nearest[0][1]} PERSON@HOST"
            found.append(WayIn(site=site.name, who="people", command=command))
    return tuple(found)


def condition_of(hosts: Iterable[HostStatus], *, answered: bool) -> SiteCondition:
    """One word for a site; ``answered``: a host or a BMC of it did."""
    active = [host for host in hosts if host.defined is HostState.ACTIVE]
    if not active:
        return "empty"
    if all(host.condition == "up" for host in active):
        return "up"
    if not answered:
        return "unknown"
    return "degraded" if any(host.up for host in active) else "down"


def troubles(
    sites: Iterable[SiteStatus], *, condition: str, definition: str = "", links: Iterable[LinkStatus] = ()
) -> tuple[str, ...]:
    """Everything that is not as the definition has it; a site that is unknown is one thing."""
    found = [f"the definition cannot be used: {definition}"] if definition else []
    if condition == "down":
        return (*found, "the emulated hardware is down")
    found += [] if condition in {"", "up"} else [f"the emulated hardware: {condition}"]
    for site in sites:
        if site.condition == "unknown":
            found.append(f"site {site.name}: unknown since {_moment(site.since)}: nothing there answers")
            continue
        if site.boot_service == "stopped":
            found.append(f"site {site.name}: the boot service is stopped")
        found += [f"host {host.name}: {_complaint(host)}" for host in site.hosts if not host.right]
    found += [f"link {link.name}: the other end does not answer" for link in links if link.condition == "cut"]
    return tuple(found)


def _complaint(host: HostStatus) -> str:
    if host.failed_units:
        return f"failed units: {', '.join(host.failed_units)}"
    return host.reason or "not up"


def _moment(since: datetime | None) -> str:
    return "it was built" if since is None else f"{since:%Y-%m-%d %H:%M:%S} UTC"
