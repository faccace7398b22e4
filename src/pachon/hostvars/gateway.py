"""What a gateway is told: over which of its links the other sites' segments are reached.

Ways go over the fewest links, then the least delay. No two ways weigh the same, since every link adds a bit of its own:
so the way back is the way there reversed, and every gateway on it sees both directions of a connection.
"""

import heapq

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Link, Site, SiteName
from pachon.model.interfaces import GATEWAY_GROUP, Use, interfaces_of

Weight = tuple[int, int, int]
"""Number of links, milliseconds one way, and a bit for each link."""


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``gateway``."""
    nics = [nic for nic in interfaces_of(facility, site, host) if nic.use is Use.LINK]
    first = first_links(facility, site.name)
    return {
        "gateway_links": [
            {
                "nic": nic.name,
                "routes": [
                    {"to": str(segment.subnet), "via": str(link.address_at(link.other_end(site.name)))}
                    for other in facility.sites
                    if (link := first.get(other.name)) is not None and link.name == nic.link
                    for segment in other.segments
                ],
            }
            for nic in nics
        ],
        "gateway_source": str(host.address) if reaching.on_segment(facility, host) else "",
    }


def first_links(facility: Facility, start: SiteName) -> dict[SiteName, Link]:
    """The link over which each other site is reached from ``start``; sites that no way leads to are left out."""
    links = usable_links(facility)
    best: dict[SiteName, Weight] = {}
    first: dict[SiteName, Link] = {}
    ahead: list[tuple[Weight, SiteName, int]] = [((0, 0, 0), start, -1)]
    while ahead:
        weight, here, number = heapq.heappop(ahead)
        if here in best:
            continue
        best[here] = weight
        if number >= 0:
            first[here] = links[number]
        for each, link in enumerate(links):
            if here in link.sites:
                further = (weight[0] + 1, weight[1] + link.delay_ms, weight[2] + (1 << each))
                heapq.heappush(ahead, (further, link.other_end(here), each if number < 0 else number))
    return first


def usable_links(facility: Facility) -> list[Link]:
    """Links that have addresses and a gateway at both ends that is to exist."""
    plugged = {
        (nic.link, site.name)
        for site in facility.sites
        for host in reaching.of_group([site], GATEWAY_GROUP)
        for nic in interfaces_of(facility, site, host)
        if nic.use is Use.LINK
    }
    return [
        link
        for link in facility.links
        if link.subnet is not None and all((link.name, site) in plugged for site in link.sites)
    ]
