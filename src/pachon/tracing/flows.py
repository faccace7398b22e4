"""What is open between two hosts by the enclaves and flows of the definition, and which flow would open what is not."""

from collections.abc import Iterator

from pachon.model.facility import Facility, Flow, Host, HostState
from pachon.model.interfaces import own_nic
from pachon.tracing.answer import Network, Stop

ANY = "any"
"""Every enclave, as the source of a flow; every port, of what is open."""
MANAGEMENT_PORT = "tcp/22"
ADMIN_GROUP = "admin"


def flows_between(facility: Facility, source: Host, target: Host) -> Iterator[tuple[Flow, bool]]:
    """Flows from the one's enclave to the other's, each with whether this very host may use it."""
    for flow in facility.flows:
        if flow.source in (source.enclave, ANY) and flow.target == target.enclave:
            yield flow, not flow.source_groups or bool({*flow.source_groups} & {*source.groups})


def on_data(facility: Facility, source: Host, target: Host) -> tuple[tuple[str, ...], str]:
    """Ports that are open on the data network, and what opens them."""
    if source.name == target.name:
        return (ANY,), "it is the same host"
    if source.enclave == target.enclave:
        return (ANY,), f"both are in the enclave {source.enclave}"
    usable = [flow for flow, mine in flows_between(facility, source, target) if mine]
    return tuple(sorted({port for flow in usable for port in flow.ports})), "; ".join(map(_flow, usable))


def on_management(facility: Facility, source: Host, target: Host) -> tuple[tuple[str, ...], str]:
    """As ``on_data``, on the management segment: ssh from the site's own admin hosts, and flows of its switches."""
    if source.name == target.name:
        return (ANY,), "it is the same host"
    if source.site != target.site:
        return (), ""
    ports: set[str] = set()
    told: list[str] = []
    if ADMIN_GROUP in source.groups:
        ports.add(MANAGEMENT_PORT)
        told.append(f"admin hosts of {source.site} log in over its management segment")
    if not on_segment(facility, source):
        usable = [flow for flow, mine in flows_between(facility, source, target) if mine]
        ports |= {port for flow in usable for port in flow.ports}
        told += [f"{_flow(flow)}, which {source.name} uses here, having no address elsewhere" for flow in usable]
    return tuple(sorted(ports)), "; ".join(told)


def on_segment(facility: Facility, host: Host) -> bool:
    """Whether the host has its address on its enclave's segment; a switch has none but the management segment's."""
    return bool(own_nic(facility, facility.site(host.site), host))


def _flow(flow: Flow) -> str:
    return f"flow {flow.source} to {flow.target} ({', '.join(flow.ports)}): {flow.reason}"


def is_open(open_ports: tuple[str, ...], port: str) -> bool:
    """Whether the port is among them; for no port in particular, whether any is."""
    return ANY in open_ports or (port in open_ports if port else bool(open_ports))


def refusal(facility: Facility, source: Host, target: Host, port: str, network: Network) -> Stop:
    """Why no flow allows it, and which would."""
    where = f"firewalls on the way to {target.name}"
    what = port or "anything"
    if network == "management":
        return Stop(
            where=f"firewall of {target.name}",
            why=f"on the management segment {target.name} takes {MANAGEMENT_PORT} from admin hosts of its site, and "
            "flows of hosts that have no other address",
            cure="go over the data network by a flow, or from an admin host of its site",
        )
    barred = [flow for flow, mine in flows_between(facility, source, target) if not mine]
    fitting = [flow for flow in barred if not port or port in flow.ports]
    if fitting:
        groups = sorted({group for flow in fitting for group in flow.source_groups})
        through = [
            host.name
            for host in sorted(facility.hosts, key=lambda host: host.site != source.site)
            if host.enclave == source.enclave and host.state is HostState.ACTIVE and {*groups} & {*host.groups}
        ]
        others = f"start at {' or '.join(through)}" if through else f"put a host of {source.enclave} into that group"
        return Stop(
            where=where,
            why=f"{what} to {target.enclave} is for hosts of {source.enclave} in {' or '.join(groups)}, "
            f"which {source.name} is not",
            cure=f"{others}; or add a group of {source.name} to the flow's source_groups",
        )
    opened = on_data(facility, source, target)[0]
    also = f" (open are {', '.join(opened)})" if opened else ""
    return Stop(
        where=where,
        why=f"no flow allows {what} from {source.enclave} to {target.enclave}{also}",
        cure=f"a flow in facility.yaml would: source {source.enclave}, target {target.enclave}, "
        f"ports [{port or 'tcp/PORT'}]",
    )
