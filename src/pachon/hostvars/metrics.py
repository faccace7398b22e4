"""What the Prometheus of a site is told: whom it asks, and which endpoints are tried how; all out of the definition."""

from collections.abc import Iterator
from dataclasses import dataclass

from pachon.hostvars import front_door, landing, reaching
from pachon.model.facility import Facility, Host, Placement, Site
from pachon.model.probes import HttpProbe, TcpProbe
from pachon.model.service import Endpoint

GROUP = front_door.METRICS_GROUP
NODE_GROUP = "node_exporter"
PORT = 9090
NODE_PORT = 9100
TCP_MODULE = "tcp"


@dataclass(frozen=True)
class Trial:
    """An endpoint that is tried at a host."""

    placement: Placement
    endpoint: Endpoint
    probe: TcpProbe | HttpProbe
    host: Host


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``metrics``."""
    trials = [*_trials(facility, site)]
    modules = {str(module["name"]): module for module in (_module(each.probe) for each in trials)}
    return {
        "metrics_front_doors": _targets(facility, site, front_door.GROUP, front_door.METRICS_PORT),
        "metrics_modules": [modules[name] for name in sorted(modules)],
        "metrics_nodes": _targets(facility, site, NODE_GROUP, NODE_PORT),
        "metrics_probes": [_probe(facility, each) for each in trials],
        "metrics_services": landing.services(facility, site.name),
        "metrics_title": landing.title(facility, site),
    }


def _targets(facility: Facility, site: Site, group: str, port: int) -> list[dict[str, object]]:
    hosts = [host for host in reaching.of_group_at(site, group) if reaching.on_segment(facility, host)]
    return [{"host": host.name, "address": f"{host.address}:{port}"} for host in hosts]


def _trials(facility: Facility, site: Site) -> Iterator[Trial]:
    """Of each service that stands here each endpoint that has a contract, on each host.

    What front doors answer for is tried as users see it, through each of them.
    """
    doors = reaching.of_group_at(site, front_door.GROUP)
    for placement in facility.placements:
        offer = placement.offer
        if placement.site == site.name and offer is not None and landing.measured(placement, offer):
            for endpoint in offer.endpoints:
                probe = offer.probe_of(endpoint)
                hosts = front_door.carriers(site, placement) if endpoint.front is None else doors
                yield from (Trial(placement, endpoint, probe, host) for host in hosts if probe is not None)


def _probe(facility: Facility, trial: Trial) -> dict[str, object]:
    where = f"{trial.host.address}:{trial.endpoint.number}"
    service, front = trial.placement.service, trial.endpoint.front
    http = isinstance(trial.probe, HttpProbe)
    named = http and front is not None and front.mode == "http"
    return {
        "service": service,
        "endpoint": trial.endpoint.name,
        "probe": trial.probe.name,
        "host": trial.host.name,
        "target": f"https://{where}{trial.probe.path}" if isinstance(trial.probe, HttpProbe) else where,
        "hostname": front_door.name_of(facility, service, trial.placement.site) if named else "",
        "module": _module(trial.probe)["name"],
    }


def _module(probe: TcpProbe | HttpProbe) -> dict[str, object]:
    """The kind of probe, one for each status."""
    if isinstance(probe, HttpProbe):
        return {"name": f"http_{probe.status}", "kind": "http", "status": probe.status}
    return {"name": TCP_MODULE, "kind": "tcp", "status": 0}
