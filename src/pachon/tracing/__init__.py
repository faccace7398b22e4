"""The way from one host to another as the definition has it: cables, switch ports, segments, gateways, flows, links.

Pure: it says what carries a path, or everything that stops it and what would be right, without asking anything.
"""

from pachon.model.facility import Facility, Host, Machine
from pachon.tracing.answer import Hop, Network, Stop, Trace, Verdict
from pachon.tracing.flows import is_open, on_data, on_management, on_segment, refusal
from pachon.tracing.way import Way

__all__ = ["Hop", "Network", "Stop", "Trace", "Verdict", "trace"]


def trace(facility: Facility, source: Host, target: Host, port: str = "", *, network: Network | None = None) -> Trace:
    """The way from host to host; ``port`` is such as ``tcp/22``.

    Hosts speak over the data network; where one of two at a site has no address there, over the management segment.
    """
    if network is None:
        whole = source.site != target.site or (on_segment(facility, source) and on_segment(facility, target))
        network = "data" if whole else "management"
    way = Way(facility, source, target)
    if network == "management":
        open_ports, allowed_by = on_management(facility, source, target)
        way.walk_management()
        source_address, target_address = (_machine(facility, host).management_address for host in (source, target))
    else:
        open_ports, allowed_by = on_data(facility, source, target)
        way.walk()
        source_address, target_address = way.source_address, target.address
    refused = not is_open(open_ports, port)
    stops = list(way.stops)
    if refused:
        stops.append(refusal(facility, source, target, port, network))
    elif allowed_by and source.name != target.name:
        way.hops.append(Hop(kind="flow", site=target.site, name=target.name, about=allowed_by))
    return Trace(
        source=source.name,
        target=target.name,
        port=port,
        network=network,
        source_address=str(source_address),
        target_address=str(target_address),
        verdict="refused" if refused else "broken" if stops else "allowed",
        allowed_by="" if refused else allowed_by,
        open_ports=open_ports,
        hops=tuple(way.hops),
        stops=tuple(stops),
    )


def _machine(facility: Facility, host: Host) -> Machine:
    return facility.site(host.site).machine_by_serial[host.machine]
