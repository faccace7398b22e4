"""Front doors and measures: whoever is to answer for a service is there, is alone on the port, and has a way to it."""

from collections.abc import Iterator
from dataclasses import dataclass

from pachon.checks.connections import placement_address, reaches
from pachon.checks.notes import Note, subject
from pachon.model.facility import Facility, Host, Placement, Site
from pachon.model.service import Endpoint, Front, ServiceState

FRONT_DOOR, METRICS = "front_door", "metrics"
OWN_PORTS = {22: "sshd", 8405: "the front door's own measures", 9100: "the node exporter"}
"""What else listens on a front door."""


@dataclass(frozen=True)
class _Passed:
    placement: Placement
    endpoint: Endpoint
    front: Front

    @property
    def name(self) -> str:
        return f"{self.endpoint.name} of {self.placement.service}"


def fronts(facility: Facility) -> Iterator[Note]:
    """Services that a front door is to answer for and cannot."""
    for site in facility.sites:
        doors = _members(site, FRONT_DOOR)
        taken: dict[int, _Passed] = {}
        for each in _passed(facility, site):
            address = placement_address(each.placement)
            if not doors:
                wrong = f"the front door is to answer for {each.name}, and no active host of {site.name} is one"
                yield Note(address, wrong, f"add {FRONT_DOOR} to the groups of a host there", "service")
            yield from _port(each, taken, address)
            for door in doors:
                yield from _ways(facility, site, each, door)


def _port(each: _Passed, taken: dict[int, _Passed], address: str) -> Iterator[Note]:
    """Notes on a port that something else has; by name many services share one."""
    port = each.endpoint.number
    other = taken.setdefault(port, each)
    if port in OWN_PORTS:
        wrong = f"{each.name} is answered on port {port}, which is that of {OWN_PORTS[port]}"
        yield Note(address, wrong, "give the endpoint another port", "service")
    elif other is not each and "tcp" in (each.front.mode, other.front.mode):
        wrong = f"{each.name} and {other.name} are both answered on port {port}, and one of them not by name"
        yield Note(address, wrong, "give one of them another port, or front mode http to both", "service")


def _ways(facility: Facility, site: Site, each: _Passed, door: Host) -> Iterator[Note]:
    """Notes on carriers that the front door does not reach, or whose port it takes from them."""
    address = subject(site.name, "host", door.name)
    carriers = [host for host in _members(site, each.placement.group) if host.enclave == each.placement.enclave]
    for host in carriers:
        ports = [port for port in (each.front.port, each.front.second_port) if port]
        if closed := [port for port in ports if not reaches(facility, door, host, port)]:
            wrong = f"the front door {door.name} has no way to {closed[0]} of {host.name}, for {each.name}"
            yield Note(address, wrong, f"add a flow from {door.enclave} to {host.enclave}", "groups")
            return
        if host.name == door.name and each.endpoint.port in ports:
            wrong = f"{door.name} carries {each.name} and answers for it, both on port {each.endpoint.number}"
            yield Note(address, wrong, "give front another port in the catalogue", "groups")


def measures(facility: Facility) -> Iterator[Note]:
    """Endpoints that a Prometheus is to try and has no way to."""
    for site in facility.sites:
        for prometheus in _members(site, METRICS):
            for host, port, name in _tried(facility, site):
                if not reaches(facility, prometheus, host, port):
                    wrong = (
                        f"{prometheus.name} is to try whether {name} answers, and has no way to {port} of {host.name}"
                    )
                    cure = f"add a flow from {prometheus.enclave} to {host.enclave} with source_groups: [{METRICS}]"
                    yield Note(subject(site.name, "host", prometheus.name), wrong, cure, "groups")


def _tried(facility: Facility, site: Site) -> Iterator[tuple[Host, str, str]]:
    """One host, port and name for each endpoint that is tried, as ``pachon.hostvars.metrics`` has them."""
    doors = _members(site, FRONT_DOOR)
    for placement in facility.placements:
        offer = placement.offer
        if placement.site != site.name or offer is None or offer.state is not ServiceState.DEPLOYABLE:
            continue
        carriers = [host for host in _members(site, placement.group) if host.enclave == placement.enclave]
        for endpoint in offer.endpoints:
            if offer.probe_of(endpoint) is not None:
                for host in (carriers if endpoint.front is None else doors)[:1]:
                    yield host, endpoint.port, f"{endpoint.name} of {placement.service}"


def _passed(facility: Facility, site: Site) -> Iterator[_Passed]:
    for placement in facility.placements:
        if placement.site == site.name and placement.group and placement.offer is not None:
            for endpoint in placement.offer.endpoints:
                if endpoint.front is not None:
                    yield _Passed(placement, endpoint, endpoint.front)


def _members(site: Site, group: str) -> list[Host]:
    return [host for host in site.active_hosts if group and group in host.groups]
