"""What a host is told of name servers: those of its own site, then those of others."""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Site

MOST_SERVERS = 3
"""The resolver of the C library asks no more."""


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``resolver``."""
    servers = reaching.of_group(reaching.own_site_first(facility, site), "dns")
    known = [reaching.address_seen_by(facility, host, server) for server in reaching.reachable(facility, host, servers)]
    return {"resolver_name_servers": known[:MOST_SERVERS], "resolver_search": [facility.domain]}
