"""Links, flows and placements, and whether each enclave has a way to what its services need."""

from collections.abc import Iterator, Mapping

from pachon.checks.hosts import in_enclave
from pachon.checks.notes import ANYTHING, Note, near
from pachon.model.facility import Facility, Flow, Host, Placement, Site
from pachon.model.hardware import MANAGEMENT
from pachon.model.service import Need, Service

ANY = "any"


def links(facility: Facility) -> Iterator[Note]:
    """Links that do not join two sites of the facility."""
    sites = [site.name for site in facility.sites]
    for link in facility.links:
        address = f"link/{link.name}"
        for name in link.sites:
            if name not in sites:
                cure = near(name, sites, otherwise=f"the sites are {', '.join(sites)}")
                yield Note(address, f"there is no site {name!r}", cure, "sites", missing=name)
        if link.sites[0] == link.sites[1]:
            yield Note(address, f"the link joins {link.sites[0]} to itself", "name two sites", "sites")


def flow_address(index: int, flow: Flow) -> str:
    """Address of the flow at that index."""
    return f"flow/{index}/{flow.source}-{flow.target}"


def flows(facility: Facility) -> Iterator[Note]:
    """Flows between enclaves that are not there, and ports that cannot be."""
    names = [enclave.name for enclave in facility.enclaves]
    if MANAGEMENT in names:
        wrong = f"{MANAGEMENT!r} is the segment that machines boot on"
        yield Note(f"enclave/{MANAGEMENT}", wrong, "give the enclave another name", "name")
    if ANY in names:
        yield Note(f"enclave/{ANY}", f"{ANY!r} stands for every enclave in flows", "give it another name", "name")
    for index, flow in enumerate(facility.flows):
        address = flow_address(index, flow)
        for key, name in (("source", flow.source), ("target", flow.target)):
            if name not in names and not (key == "source" and name == ANY):
                cure = near(name, names, otherwise="add it to enclaves")
                yield Note(address, f"there is no enclave {name!r}", cure, key, missing=name)
        known = {group for host in facility.hosts if flow.source in (host.enclave, ANY) for group in host.groups}
        for group in flow.source_groups:
            if group not in known:
                cure = near(group, known, otherwise="add a host in that group, or leave the group out")
                wrong = f"no host of {flow.source} is in the group {group!r}"
                yield Note(address, wrong, cure, "source_groups", missing=ANYTHING)
        if flow.source == flow.target:
            cure = "leave it out: hosts of one enclave see each other"
            yield Note(address, f"the flow goes from {flow.source} to itself", cure, "target")
        for port in flow.ports:
            if int(port.partition("/")[2]) > 65535:
                yield Note(address, f"there is no port {port}", "ports go up to 65535", "ports")


CONTROLLER = "kubernetes_controller"
"""Hosts of this group make a site's cluster."""


def has_cluster(site: Site) -> bool:
    """Whether services can run in Kubernetes there."""
    return bool(site.kubeconfig) or any(CONTROLLER in host.groups for host in site.hosts)


def placement_address(placement: Placement) -> str:
    """Address of a placement."""
    return f"placement/{placement.service}/{placement.site}/{placement.enclave}"


def placements(facility: Facility, services: Mapping[str, Service]) -> Iterator[Note]:
    """Placements of, at, in or on what is not there."""
    sites = {site.name: site for site in facility.sites}
    owners: dict[tuple[str, ...], str] = {}
    for placement in facility.placements:
        address = placement_address(placement)
        for each in placement.manifests:
            kind, name = str(each.body["kind"]), str(each.body["metadata"]["name"])
            other = owners.setdefault((placement.site, placement.enclave, kind, name), placement.service)
            if other != placement.service:
                wrong = f"the {kind} {name} of {placement.service} is also one of {other} in {placement.enclave}"
                yield Note(address, wrong, f"give it another name in {each.where}", "service")
        service = services.get(placement.service)
        if service is None:
            cure = near(placement.service, services, otherwise="add it to inventory/catalogue")
            wrong = f"there is no service {placement.service!r} in the catalogue"
            yield Note(address, wrong, cure, "service", missing=placement.service)
        elif service.enclaves and placement.enclave not in service.enclaves:
            wrong = f"{placement.service} is meant for {', '.join(service.enclaves)}, not for {placement.enclave}"
            cure = "place it there, or change the catalogue"
            yield Note(address, wrong, cure, "enclave", severity="warning")
        site = sites.get(placement.site)
        if site is None:
            cure = near(placement.site, sites, otherwise=f"the sites are {', '.join(sites)}")
            yield Note(address, f"there is no site {placement.site!r}", cure, "site", missing=placement.site)
            continue
        yield from in_enclave(facility, site, placement.enclave, address)
        if placement.manifests and not has_cluster(site):
            wrong = f"{placement.service} runs in Kubernetes, and {placement.site} has no cluster"
            cure = f"put a host there into the group {CONTROLLER}, or name the kubeconfig of a cluster that exists"
            yield Note(address, wrong, cure, "site", missing=ANYTHING)
        groups = {group for host in site.hosts if host.enclave == placement.enclave for group in host.groups}
        if placement.group and placement.group not in groups:
            wrong = f"no host of {placement.enclave} at {placement.site} is in the group {placement.group!r}"
            cure = near(placement.group, groups, otherwise="add a host in that group, or leave group out")
            yield Note(address, wrong, cure, "group", missing=ANYTHING)


def _open_ports(facility: Facility, source: str, target: str) -> frozenset[str]:
    """Ports that flows open from one enclave to another."""
    return frozenset(
        port for flow in facility.flows if flow.source in (source, ANY) and flow.target == target for port in flow.ports
    )


def reaches(facility: Facility, source: Host, target: Host, port: str) -> bool:
    """Whether one host may open a connection to that port of the other."""
    return source.enclave == target.enclave or any(
        flow.source in (ANY, source.enclave)
        and flow.target == target.enclave
        and port in flow.ports
        and (not flow.source_groups or {*flow.source_groups} & {*source.groups})
        for flow in facility.flows
    )


def needs(facility: Facility, services: Mapping[str, Service]) -> Iterator[Note]:
    """Services that cannot reach what they need from the enclave that they stand in."""
    where: dict[str, list[str]] = {}
    for placement in facility.placements:
        where.setdefault(placement.service, []).append(placement.enclave)
    for placement in facility.placements:
        service = services.get(placement.service)
        for need in service.needs if service is not None else ():
            yield from _need(facility, placement, need, where=where, services=services)


def _need(
    facility: Facility,
    placement: Placement,
    need: Need,
    *,
    where: Mapping[str, list[str]],
    services: Mapping[str, Service],
) -> Iterator[Note]:
    """A note when a placed service cannot reach one thing that it needs."""
    name = need.service
    needed = services.get(name)
    if needed is None:
        return
    address = placement_address(placement)
    targets = where.get(name, [])
    if not targets and need.later:
        return
    if not targets:
        wrong = f"{placement.service} needs {name}, which is placed nowhere"
        yield Note(address, wrong, f"add a placement of {name}", "service", missing=name)
        return
    ports = needed.ports(need)
    ways = {
        target: frozenset[str]() if target == placement.enclave else _lacking(facility, placement, target, ports)
        for target in targets
    }
    if all(ways.values()):
        used = f"{name}/{need.endpoint}" if need.endpoint else name
        target, lacking = min(ways.items(), key=lambda way: (len(way[1]), way[0]))
        wrong = f"the enclave {placement.enclave} has no way to {used} in {target}, which {placement.service} needs"
        cure = f"add a flow from {placement.enclave} to {target} for {', '.join(sorted(lacking))}"
        yield Note(address, wrong, cure, "enclave", missing=name)


def _lacking(facility: Facility, placement: Placement, target: str, wanted: frozenset[str]) -> frozenset[str]:
    """Ports that are wanted and that no flow opens; some word for it when nothing at all is open."""
    opened = _open_ports(facility, placement.enclave, target)
    if not wanted:
        return frozenset() if opened else frozenset({"its port"})
    return wanted - opened
