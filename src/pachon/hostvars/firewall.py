"""The packet filter of a host as data, from the enclaves and flows of the definition; role ``firewall`` writes it out.

What no rule allows is refused and logged. On the data network a host takes everything from its own enclave, at whatever
site, and from others what flows allow; a gateway forwards by the same flows, and nothing that comes in at an interface
where its source cannot be. On the management segment a host takes SSH from its controllers.

A gateway has addresses on segments of enclaves that it does not belong to. They count as its own enclave's, not as
those of the segment: else a bastion that is a gateway would be at home everywhere.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from pachon.hostvars import front_door, kubernetes_cluster, reaching
from pachon.hostvars.once import once
from pachon.model.facility import EnclaveName, Facility, Flow, Host, Site, SiteName
from pachon.model.interfaces import GATEWAY_GROUP, Use, interfaces_of, own_nic

ANY = "any"
"""As the source of a flow: every enclave. As a protocol: every one, on all ports."""
SSH = 22
DATA, MANAGEMENT = "data", "management"

Rule = dict[str, object]
"""``network``, ``sources``, ``not_sources``, ``targets``, ``protocol``, ``ports``, ``reason``; all lists may be empty,
which means anything, but for ``sources`` of a rule without ``not_sources``."""


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``firewall``."""
    gateway, worker = GATEWAY_GROUP in host.groups, kubernetes_cluster.WORKER in host.groups
    return {
        "firewall_forward": [
            *(_forward(facility) if gateway else ()),
            *(_pods(facility, host.enclave) if worker else ()),
        ],
        "firewall_input": [
            *_controllers(facility, site, host),
            *_addressless_users(facility, site.name, host.enclave),
            *(_data(facility, site.name, host.enclave) if reaching.on_segment(facility, host) else ()),
        ],
        "firewall_management_nic": site.machine_by_serial[host.machine].boot_nic.name,
        "firewall_origins": [
            *(_origins(facility, site, host) if gateway else ()),
            *(_pods_origins(facility, site, host) if worker else ()),
        ],
    }


def _controllers(facility: Facility, site: Site, host: Host) -> Iterator[Rule]:
    """What a host takes on the management segment, whatever its enclave."""
    admins = [
        reaching.management_address(facility, each)
        for each in reaching.of_group([site], reaching.ADMIN_GROUP)
        if each.name != host.name
    ]
    yield _rule(
        MANAGEMENT,
        [str(site.management_gateway), str(site.boot_address), *admins],
        "tcp",
        [SSH],
        reason="Controllers of the site.",
    )
    if reaching.BASTION_GROUP in host.groups:
        outside = _rule(MANAGEMENT, [], "tcp", [SSH], reason="People from outside the facility.")
        yield outside | {"not_sources": [str(facility.prefix)]}
    if front_door.GROUP in host.groups and (ports := [*front_door.ports_at(facility, site.name)]):
        reason = "What the front door shows to people outside the facility."
        yield _rule(MANAGEMENT, [], "tcp", ports, reason=reason) | {"not_sources": [str(facility.prefix)]}
        yield _rule(MANAGEMENT, [str(site.management_gateway)], "tcp", ports, reason=f"Through the gateway: {reason}")


@once
def _addressless_users(facility: Facility, site_name: SiteName, enclave: EnclaveName) -> tuple[Rule, ...]:
    """What hosts of the enclave take on the management segment by flows."""
    site = facility.site(site_name)
    rules: list[Rule] = []
    for flow in facility.flows:
        if flow.target == enclave and (sources := _addressless(facility, site, flow)):
            reason = f"Without an address elsewhere: {flow.reason}"
            rules += [_rule(MANAGEMENT, sources, protocol, ports, reason=reason) for protocol, ports in _ports(flow)]
    return tuple(rules)


@once
def _data(facility: Facility, site_name: SiteName, enclave: EnclaveName) -> tuple[Rule, ...]:
    """What hosts of the enclave take on the data network."""
    site = facility.site(site_name)
    home = _rule(DATA, _segments(facility, enclave), ANY, [], reason=f"Its own enclave, {enclave}.")
    rules = [home | {"not_sources": _strangers(facility, enclave)}]
    for flow in facility.flows:
        if flow.target == enclave and flow.source != enclave:
            sources = _with(_sources(facility, flow), _feet_of_users(facility, flow, site))
            reason = f"From {flow.source}: {flow.reason}"
            ways = _ports(flow) if sources else []
            rules += [_rule(DATA, sources, protocol, ports, reason=reason) for protocol, ports in ways]
    return tuple(rules)


@once
def _forward(facility: Facility) -> tuple[Rule, ...]:
    """What gateways pass on: the same on all of them."""
    return tuple(_forwarded(facility))


def _forwarded(facility: Facility) -> Iterator[Rule]:
    for enclave in facility.enclaves:
        own = _segments(facility, enclave.name)
        if len(own) > 1:
            yield _rule(DATA, own, ANY, [], reason=f"Within {enclave.name}, from site to site.", targets=own)
    for flow in facility.flows:
        sources, targets = _sources(facility, flow), _segments(facility, flow.target)
        if flow.source != flow.target and sources and targets:
            for protocol, ports in _ports(flow):
                reason = f"{flow.source} to {flow.target}: {flow.reason}"
                yield _rule(DATA, sources, protocol, ports, reason=reason, targets=targets)


@once
def _pods(facility: Facility, enclave: EnclaveName) -> tuple[Rule, ...]:
    """What a worker of Kubernetes passes on: among pods, between them and its enclave, and what its enclave may do."""
    pods, own = [kubernetes_cluster.PODS], _segments(facility, enclave)
    rules = [
        _rule(DATA, pods, ANY, [], reason="Among pods.", targets=pods),
        _rule(DATA, pods, ANY, [], reason=f"From pods to {enclave}.", targets=own),
        _rule(DATA, own, ANY, [], reason=f"From {enclave} to pods.", targets=pods),
    ]
    for flow in facility.flows:
        if flow.source in (ANY, enclave) and flow.target != enclave and not flow.source_groups:
            targets = _segments(facility, flow.target)
            ways = _ports(flow) if targets else []
            reason = f"From pods to {flow.target}: {flow.reason}"
            rules += [_rule(DATA, pods, protocol, ports, reason=reason, targets=targets) for protocol, ports in ways]
    return tuple(rules)


def _pods_origins(facility: Facility, site: Site, host: Host) -> list[dict[str, object]]:
    """From where packets may come in at each NIC of a worker: those of other workers' pods come by its own.

    ``hidden``: what lies behind that NIC is known to nobody outside of the cluster.
    """
    pods, bridge = kubernetes_cluster.PODS, kubernetes_cluster.POD_BRIDGE
    own = own_nic(facility, site, host)
    outside: list[dict[str, object]] = [{"nic": own, "sources": [str(facility.prefix), pods]}] if own else []
    return [{"nic": bridge, "sources": [pods], "hidden": True}, *outside]


def _origins(facility: Facility, site: Site, host: Host) -> list[dict[str, object]]:
    """From where packets may come in at each of a gateway's interfaces that it forwards between."""
    far = [str(segment.subnet) for other in facility.sites if other.name != site.name for segment in other.segments]
    found: list[dict[str, object]] = []
    for nic in interfaces_of(facility, site, host):
        networks = [str(address.network) for address in nic.addresses]
        if nic.use is Use.LINK:
            found.append({"nic": nic.name, "sources": [*_once(networks), *far]})
        elif nic.use is Use.SEGMENT and networks:
            found.append({"nic": nic.name, "sources": _once(networks)})
    return found


def _sources(facility: Facility, flow: Flow) -> list[str]:
    """Networks and addresses that may use a flow."""
    if flow.source_groups:
        return [str(host.address) for host in _users(facility, flow) if reaching.on_segment(facility, host)]
    enclaves = [enclave.name for enclave in facility.enclaves] if flow.source == ANY else [flow.source]
    return [each for enclave in enclaves for each in _segments(facility, enclave)]


def _with(networks: list[str], addresses: list[str]) -> list[str]:
    """The networks, and the addresses that are in none of them: nft takes no set that overlaps itself."""
    known = [IPv4Network(each) for each in networks]
    return [*networks, *(each for each in addresses if not any(IPv4Address(each) in network for network in known))]


def _users(facility: Facility, flow: Flow) -> list[Host]:
    """Hosts that may use a flow."""
    return [
        host
        for site in facility.sites
        for host in site.active_hosts
        if flow.source in (ANY, host.enclave) and (not flow.source_groups or {*flow.source_groups} & {*host.groups})
    ]


def _feet_of_users(facility: Facility, flow: Flow, site: Site) -> list[str]:
    """Addresses that the site's gateways which may use a flow have on the segment of its target, and so send from."""
    segment = site.segment(flow.target)
    users = [host for host in _users(facility, flow) if host.site == site.name]
    return [str(foot) for host in users for foot in _feet(facility, host) if segment and foot in segment.subnet]


def _feet(facility: Facility, host: Host) -> list[IPv4Address]:
    """Addresses of a gateway on segments of enclaves that it does not belong to."""
    if GATEWAY_GROUP not in host.groups:
        return []
    nics = interfaces_of(facility, facility.site(host.site), host)
    return [each.ip for nic in nics if nic.use is Use.SEGMENT and nic.enclave != host.enclave for each in nic.addresses]


def _strangers(facility: Facility, enclave: EnclaveName) -> list[str]:
    """Addresses on segments of the enclave that are gateways' of other enclaves."""
    own = [IPv4Network(each) for each in _segments(facility, enclave)]
    gateways = [host for host in reaching.of_group(facility.sites, GATEWAY_GROUP) if host.enclave != enclave]
    feet = (foot for host in gateways for foot in _feet(facility, host))
    return [str(foot) for foot in feet if any(foot in network for network in own)]


def _addressless(facility: Facility, site: Site, flow: Flow) -> list[str]:
    """Management addresses of the site's hosts that may use a flow and have no other address, as switches."""
    return [
        reaching.management_address(facility, host)
        for host in _users(facility, flow)
        if host.site == site.name and not reaching.on_segment(facility, host)
    ]


def _segments(facility: Facility, enclave: EnclaveName) -> list[str]:
    """Networks of the enclave at all sites."""
    return [str(segment.subnet) for site in facility.sites for segment in site.segments if segment.enclave == enclave]


def _ports(flow: Flow) -> list[tuple[str, list[int]]]:
    """The flow's port numbers by protocol."""
    found: dict[str, list[int]] = {}
    for port in flow.ports:
        protocol, _, number = port.partition("/")
        found.setdefault(protocol, []).append(int(number))
    return [(protocol, sorted(numbers)) for protocol, numbers in sorted(found.items())]


def _rule(
    network: str, sources: list[str], protocol: str, ports: list[int], *, reason: str, targets: Iterable[str] = ()
) -> Rule:
    return {
        "network": network,
        "not_sources": [],
        "ports": ports,
        "protocol": protocol,
        "reason": reason,
        "sources": sources,
        "targets": list(targets),
    }


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
