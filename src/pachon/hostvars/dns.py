"""What a name server is told: every name of all sites, so that a site that is cut off knows them all."""

from collections import defaultdict
from ipaddress import IPv4Network

from pachon.hostvars import front_door, reaching
from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``dns``."""
    return {
        "dns_domain": facility.domain,
        "dns_records": records(facility),
        "dns_reverse_zones": reverse_zones(facility.prefix),
    }


def records(facility: Facility) -> list[str]:
    """Lines as in /etc/hosts, a line an address; the first name is what the address is called the other way round.

    A host has its name on its segment and ``<host>.mgmt.<domain>``; hosts of a group are found together under
    ``<group>.<site>.<domain>``, with a hyphen for each underscore; what front doors answer for is found at theirs.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for site in facility.sites:
        for host in site.active_hosts:
            management = reaching.management_address(facility, host)
            own = str(host.address) if reaching.on_segment(facility, host) else management
            names[own] += [reaching.fqdn(facility, host), host.name]
            names[own] += [f"{group.replace('_', '-')}.{site.name}.{facility.domain}" for group in host.groups]
            names[own] += _fronted(facility, site) if front_door.GROUP in host.groups else []
            names[management].append(reaching.management_name(facility, host))
    return [f"{address} {' '.join(found)}" for address, found in names.items()]


def _fronted(facility: Facility, site: Site) -> list[str]:
    """Names of the services that front doors of the site answer for."""
    services = dict.fromkeys(each.placement.service for each in front_door.passed_on(facility, site.name))
    return [front_door.name_of(facility, service, site.name) for service in services]


def reverse_zones(prefix: IPv4Network) -> list[str]:
    """Zones of ``in-addr.arpa`` that make up the prefix; for a long prefix the zone that it lies in."""
    octets = min(3, -(-prefix.prefixlen // 8))
    parts = prefix.subnets(new_prefix=octets * 8) if prefix.prefixlen <= octets * 8 else [prefix]
    return [".".join([*reversed(str(part.network_address).split(".")[:octets]), "in-addr", "arpa"]) for part in parts]
