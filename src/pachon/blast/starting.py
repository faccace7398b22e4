"""What an address means: the things that go away with it, before anything follows from that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pachon.errors import UsageError
from pachon.model.facility import Facility, Machine, Serial, Site
from pachon.model.service import Service

FORMS = "an address is such as base/rack/r01, base/host/base-sw01, base/service/batch-computing or link/base-archive"


@dataclass(frozen=True)
class Start:
    """What goes away first."""

    address: str
    title: str
    why: str
    """Said of everything that belongs to it."""
    site: str = ""
    """Empty: it is not of one site."""
    machines: frozenset[Serial] = frozenset()
    hardware: bool = True
    """Whether the machines themselves go, and not only what runs on them."""
    switches: frozenset[str] = frozenset()
    """Unmanaged ones, by name."""
    links: frozenset[str] = frozenset()
    services: frozenset[tuple[str, str]] = frozenset()
    """Site and service."""

    def touches(self, site: Site) -> bool:
        """Whether anything of that site goes away at first."""
        return self.site in ("", site.name) and bool(self.machines or self.switches)


def start_of(facility: Facility, services: Mapping[str, Service], address: str) -> Start:
    """What goes away with the thing at that address; a host, a machine or a site may be named without its site.

    Raises:
        UsageError: there is no such thing.
    """
    parts = address.strip("/").split("/")
    match parts:
        case ["link", name]:
            return _link(facility, name)
        case ["service", name]:
            return _service(facility, services, name, sites=[site.name for site in facility.sites])
        case [name]:
            return _bare(facility, name)
        case [site, "service", name] if site in {each.name for each in facility.sites}:
            return _service(facility, services, name, sites=[site])
        case [name, *rest]:
            return _at_site(facility, name, rest)
    raise UsageError(f"facility {facility.name!r} has nothing at {address!r}", cure=FORMS)


def _at_site(facility: Facility, name: str, rest: Sequence[str]) -> Start:
    sites = {site.name: site for site in facility.sites}
    if name not in sites:
        raise _unknown(name, sorted(sites), facility, "site")
    site = sites[name]
    match rest:
        case ["rack", rack]:
            return _rack(site, rack)
        case ["machine", serial] if serial in site.machine_by_serial:
            return _machine(site, site.machine_by_serial[serial])
        case ["host" | "switch", host]:
            return _host(site, host)
        case ["volume", volume]:
            return _volume(site, volume)
    raise UsageError(f"site {name!r} has nothing at {'/'.join(rest)!r}", cure=FORMS)


def _bare(facility: Facility, name: str) -> Start:
    for site in facility.sites:
        if name == site.name:
            return Start(
                address=name,
                title=f"site {name}",
                why=f"at {name}",
                site=name,
                machines=frozenset(site.machine_by_serial),
                switches=frozenset(switch.name for switch in site.unmanaged_switches),
            )
        if name in site.machine_by_serial:
            return _machine(site, site.machine_by_serial[name])
        if any(host.name == name for host in site.hosts):
            return _host(site, name)
    known = [host.name for host in facility.hosts] + [site.name for site in facility.sites]
    raise _unknown(name, known, facility, "host or site")


def _rack(site: Site, name: str) -> Start:
    inside = [machine for machine in site.machines if machine.rack == name]
    switches = [switch.name for switch in site.unmanaged_switches if switch.rack == name]
    known = {*(rack.name for rack in site.racks), *(machine.rack for machine in site.machines)}
    if name not in known:
        raise _no_such(site, "rack", name, sorted(known))
    return Start(
        address=f"{site.name}/rack/{name}",
        title=f"rack {name} of {site.name}: {len(inside)} machines",
        why=f"in rack {name}",
        site=site.name,
        machines=frozenset(machine.serial for machine in inside),
        switches=frozenset(switches),
    )


def _machine(site: Site, machine: Machine) -> Start:
    return Start(
        address=f"{site.name}/machine/{machine.serial}",
        title=f"machine {machine.serial} in rack {machine.rack} of {site.name}",
        why=f"on machine {machine.serial}",
        site=site.name,
        machines=frozenset({machine.serial}),
    )


def _host(site: Site, name: str) -> Start:
    if any(switch.name == name for switch in site.unmanaged_switches):
        address = f"{site.name}/switch/{name}"
        title = f"switch {name} of {site.name}, which has no operating system of ours"
        return Start(address, title, "itself", site=site.name, switches=frozenset({name}))
    for host in site.hosts:
        if host.name == name:
            return Start(
                address=f"{site.name}/host/{name}",
                title=f"host {name} of {host.enclave} on machine {host.machine}",
                why="itself",
                site=site.name,
                machines=frozenset({host.machine}),
                hardware=False,
            )
    raise _no_such(site, "host", name, [host.name for host in site.hosts])


def _volume(site: Site, name: str) -> Start:
    under = {pool.name: pool.host for pool in site.storage_pools}
    for volume in site.volumes:
        if volume.name == name:
            title = f"volume {name} ({volume.size_gib} GiB at {volume.mount} on {under.get(volume.pool, '?')})"
            return Start(f"{site.name}/volume/{name}", title, "itself", site=site.name)
    raise _no_such(site, "volume", name, [volume.name for volume in site.volumes])


def _link(facility: Facility, name: str) -> Start:
    for link in facility.links:
        if link.name == name:
            title = f"link {name} between {' and '.join(link.sites)}, {link.rate_mbps} Mbit/s"
            return Start(f"link/{name}", title, "itself", links=frozenset({name}))
    raise _unknown(name, [link.name for link in facility.links], facility, "link")


def _service(facility: Facility, services: Mapping[str, Service], name: str, *, sites: Sequence[str]) -> Start:
    placed = frozenset((each.site, name) for each in facility.placements if each.service == name and each.site in sites)
    if name not in services and not placed:
        raise _unknown(name, sorted({*services, *(each.service for each in facility.placements)}), facility, "service")
    if not placed:
        raise UsageError(
            f"the service {name} is placed nowhere at {', '.join(sites)}", cure="see placements in facility.yaml"
        )
    where = sites[0] if len(sites) == 1 else ""
    title = services[name].title if name in services else name
    return Start(f"{where}/service/{name}" if where else f"service/{name}", title, "itself", services=placed)


def _no_such(site: Site, kind: str, name: str, known: Sequence[str]) -> UsageError:
    near = get_close_matches(name, known, n=3)
    some = ", ".join(known[:8]) or "none at all"
    cure = f"did you mean {' or '.join(near)}?" if near else f"there is {some}{' …' if len(known) > 8 else ''}"
    return UsageError(f"site {site.name!r} has no {kind} {name!r}", cure=cure)


def _unknown(name: str, known: Sequence[str], facility: Facility, kind: str) -> UsageError:
    near = get_close_matches(name, known, n=3)
    cure = f"did you mean {' or '.join(near)}?" if near else FORMS
    return UsageError(f"facility {facility.name!r} has no {kind} {name!r}", cure=cure)
