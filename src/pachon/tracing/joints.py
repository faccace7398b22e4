"""What is joined to what: NICs to switches by cables, switches to switches, sites to sites by links."""

import itertools
from collections import deque
from collections.abc import Mapping

from pachon.model.facility import Facility, Link, Serial, Site, SiteName
from pachon.model.interfaces import SWITCH_FLAVOUR


def end_of(site: Site, serial: Serial, nic: str) -> tuple[str, str] | None:
    """Switch and port at the other end of a NIC's cable."""
    cables = site.cables_by_machine.get(serial, ())
    return next(((cable.switch, cable.port) for cable in cables if cable.nic == nic), None)


def switches_between(site: Site, first: str, last: str) -> list[str] | None:
    """Switches from the one to the other by their cables, both included; None if nothing joins them."""
    beside: dict[str, set[str]] = {}
    switches = {host.machine for host in site.hosts if host.flavour == SWITCH_FLAVOUR}
    names = switches | {switch.name for switch in site.unmanaged_switches}
    for cable in site.cables:
        if cable.machine in names and cable.switch in names and cable.nic != _boot_nic(site, cable.machine):
            beside.setdefault(cable.machine, set()).add(cable.switch)
            beside.setdefault(cable.switch, set()).add(cable.machine)
    return _path(beside, first, last)


def _boot_nic(site: Site, serial: Serial) -> str:
    machine = site.machine_by_serial.get(serial)
    return machine.boot_nic.name if machine is not None and machine.nics else ""


def links_between(facility: Facility, first: SiteName, last: SiteName) -> list[Link] | None:
    """Links from site to site, the fewest; between two sites the one that something of ours is plugged into."""
    best: dict[frozenset[str], Link] = {}
    for link in facility.links:
        pair = frozenset(link.sites)
        if pair not in best or (best[pair].subnet is None and link.subnet is not None):
            best[pair] = link
    beside: dict[str, set[str]] = {}
    for link in best.values():
        one, other = link.sites
        beside.setdefault(one, set()).add(other)
        beside.setdefault(other, set()).add(one)
    sites = _path(beside, first, last)
    return None if sites is None else [best[frozenset(pair)] for pair in itertools.pairwise(sites)]


def _path(beside: Mapping[str, set[str]], first: str, last: str) -> list[str] | None:
    """The shortest way in a graph, both ends included."""
    ahead: deque[list[str]] = deque([[first]])
    seen = {first}
    while ahead:
        way = ahead.popleft()
        if way[-1] == last:
            return way
        for name in sorted(beside.get(way[-1], set()) - seen):
            seen.add(name)
            ahead.append([*way, name])
    return None
