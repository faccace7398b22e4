"""What a host is told of time: whom it asks, and whether its clock is its own to set."""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Hardware, Host, Site

GROUP = "time_server"


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``time_client``.

    A time server asks those of other sites. The clock of a lab's host is the clock of the machine that the lab stands
    on: it is measured and never set.
    """
    servers = [server for server in reaching.of_group(reaching.own_site_first(facility, site), GROUP) if server != host]
    if GROUP in host.groups:
        servers = [server for server in servers if server.site != host.site]
    names = [reaching.name_seen_by(facility, host, server) for server in reaching.reachable(facility, host, servers)]
    return {
        "time_client_running": bool(names) or GROUP in host.groups,
        "time_client_servers": names,
        "time_client_sets_clock": facility.hardware is not Hardware.LAB,
    }
