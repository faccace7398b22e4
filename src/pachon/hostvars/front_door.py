"""What a front door is told: for which services it answers at its site, and which hosts carry them.

A service is passed on where its entry in the catalogue says ``front`` of an endpoint and it is placed on hosts of a
group. It is asked for by ``<service>.<site>.<domain>``, which is a name of the front doors' addresses.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pachon.hostvars import landing, reaching
from pachon.hostvars.once import once
from pachon.model.facility import Facility, Host, Placement, Site, SiteName
from pachon.model.probes import HttpProbe
from pachon.model.service import Endpoint, Front, Offer

GROUP = "front_door"
METRICS_GROUP = "metrics"
METRICS_PORT = 8405
OK = 200


@dataclass(frozen=True)
class Passed:
    """An endpoint that front doors of a site answer for."""

    placement: Placement
    offer: Offer
    endpoint: Endpoint
    front: Front

    @property
    def backend(self) -> str:
        """The name under which HAProxy has it."""
        return backend_of(self.placement.service, self.endpoint.name)


def backend_of(service: str, endpoint: str) -> str:
    """The name under which HAProxy has an endpoint of a service."""
    return f"{service}.{endpoint}"


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``front_door``."""
    passed = passed_on(facility, site.name)
    return {
        "front_door_backends": [_backend(facility, site, each) for each in passed],
        "front_door_landing": next((each.backend for each in passed if shows_landing(each)), ""),
        "front_door_services": landing.services(facility, site.name),
        "front_door_title": landing.title(facility, site),
    }


@once
def passed_on(facility: Facility, site_name: SiteName) -> tuple[Passed, ...]:
    """What front doors of the site answer for, sorted by name; of what is placed twice the first."""
    found: dict[str, Passed] = {}
    for placement in facility.placements:
        if placement.site == site_name and placement.group and placement.offer is not None:
            for endpoint in placement.offer.endpoints:
                if endpoint.front is not None:
                    each = Passed(placement, placement.offer, endpoint, endpoint.front)
                    found.setdefault(each.backend, each)
    return tuple(found[name] for name in sorted(found))


def shows_landing(passed: Passed) -> bool:
    """Whether it is Prometheus, which has the site's landing page."""
    return passed.placement.group == METRICS_GROUP and passed.front.mode == "http"


def carriers(site: Site, placement: Placement) -> tuple[Host, ...]:
    """Hosts at the site that carry what is placed."""
    return tuple(host for host in reaching.of_group_at(site, placement.group) if host.enclave == placement.enclave)


def name_of(facility: Facility, service: str, site_name: SiteName) -> str:
    """Name under which a service that is passed on is asked for."""
    return f"{service}.{site_name}.{facility.domain}"


def names_at(facility: Facility, site_name: SiteName) -> tuple[str, ...]:
    """Names of everything that front doors of the site answer for by name."""
    passed = passed_on(facility, site_name)
    names = [name_of(facility, each.placement.service, site_name) for each in passed if each.front.mode == "http"]
    return (*dict.fromkeys(names), f"{GROUP.replace('_', '-')}.{site_name}.{facility.domain}")


def ports_at(facility: Facility, site_name: SiteName) -> tuple[int, ...]:
    """Ports on which people are answered by name."""
    return tuple(sorted({each.endpoint.number for each in passed_on(facility, site_name) if each.front.mode == "http"}))


def _backend(facility: Facility, site: Site, passed: Passed) -> dict[str, object]:
    http = passed.front.mode == "http"
    probe = passed.offer.probe_of(passed.endpoint)
    path, status = (probe.path, probe.status) if isinstance(probe, HttpProbe) else ("", OK)
    return {
        "name": passed.backend,
        "mode": passed.front.mode,
        "port": passed.endpoint.number,
        "names": [name_of(facility, passed.placement.service, site.name)] if http else [],
        "check_path": path,
        "check_status": status,
        "plain": bool(passed.front.plain),
        "servers": [*_servers(facility, site, passed)],
    }


def _servers(facility: Facility, site: Site, passed: Passed) -> Iterator[dict[str, object]]:
    """Each host that carries it; each of its two slots where a rollout has releases side by side."""
    slots = passed.front.port_by_slot
    for host in carriers(site, passed.placement):
        names = {f"{host.name}.{slot}": port for slot, port in slots.items()} or {host.name: passed.front.number}
        for name, port in names.items():
            certified = reaching.fqdn(facility, host)
            yield {"name": name, "address": str(host.address), "port": port, "certified": certified}
