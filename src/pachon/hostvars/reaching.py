"""At which address or name hosts find one another, and from where people and controllers may come.

A host with an address on its enclave's segment is found there; one without, as a switch, sees and is seen on its site's
management segment only.
"""

from collections.abc import Iterable

from pachon.hostvars.once import once
from pachon.model.facility import Facility, Host, Site, SiteName
from pachon.model.interfaces import Use, interfaces_of, own_nic

ADMIN_GROUP = "admin"
BASTION_GROUP = "bastion"
MANAGEMENT_LABEL = "mgmt"
"""``<host>.mgmt.<domain>`` is the host's address on the management segment."""


def fqdn(facility: Facility, host: Host) -> str:
    """Name of the host on its enclave's segment."""
    return f"{host.name}.{facility.domain}"


def management_name(facility: Facility, host: Host) -> str:
    """Name of the host on the management segment."""
    return f"{host.name}.{MANAGEMENT_LABEL}.{facility.domain}"


def management_address(facility: Facility, host: Host) -> str:
    """Address of the host on the management segment."""
    return str(facility.site(host.site).machine_by_serial[host.machine].management_address)


def on_segment(facility: Facility, host: Host) -> bool:
    """Whether the host has its address on its enclave's segment."""
    return bool(own_nic(facility, facility.site(host.site), host))


def of_group(sites: Iterable[Site], group: str) -> list[Host]:
    """Hosts in the group that are to exist, in the order of the sites."""
    return [host for site in sites for host in of_group_at(site, group)]


@once
def of_group_at(site: Site, group: str) -> tuple[Host, ...]:
    """Hosts of one site in the group that are to exist."""
    return tuple(host for host in site.active_hosts if group in host.groups)


def own_site_first(facility: Facility, site: Site) -> list[Site]:
    """All sites; a host asks its own before others."""
    return [site, *(other for other in facility.sites if other.name != site.name)]


def reachable(facility: Facility, viewer: Host, hosts: Iterable[Host]) -> list[Host]:
    """Those of the hosts that ``viewer`` has a way to."""
    return [
        host
        for host in hosts
        if host.site == viewer.site or (on_segment(facility, viewer) and on_segment(facility, host))
    ]


def address_seen_by(facility: Facility, viewer: Host, host: Host) -> str:
    """Where ``viewer`` reaches the host, one that is ``reachable``."""
    both = on_segment(facility, viewer) and on_segment(facility, host)
    return str(host.address) if both else management_address(facility, host)


def name_seen_by(facility: Facility, viewer: Host, host: Host) -> str:
    """The name under which ``viewer`` reaches the host, one that is ``reachable``."""
    both = on_segment(facility, viewer) and on_segment(facility, host)
    return fqdn(facility, host) if both else management_name(facility, host)


def addresses_of(facility: Facility, host: Host, *, management: bool) -> list[str]:
    """Every address that the host may send from: its own, those of gateways that it is, those on links."""
    found = interfaces_of(facility, facility.site(host.site), host)
    return [str(each.ip) for nic in found if management or nic.use is not Use.MANAGEMENT for each in nic.addresses]


@once
def people_come_from(facility: Facility) -> tuple[str, ...]:
    """Addresses of the bastions, and of admin hosts, in all sites."""
    doors = of_group(facility.sites, BASTION_GROUP) + of_group(facility.sites, ADMIN_GROUP)
    return _distinct(
        address for host in doors for address in addresses_of(facility, host, management=ADMIN_GROUP in host.groups)
    )


@once
def automation_comes_from(facility: Facility, site_name: SiteName) -> tuple[str, ...]:
    """Addresses of controllers: behind the site's management gateway, beside its boot service, on admin hosts."""
    site = facility.site(site_name)
    admins = of_group(own_site_first(facility, site), ADMIN_GROUP)
    own = [str(site.management_gateway), str(site.boot_address)]
    return _distinct([*own, *(each for host in admins for each in addresses_of(facility, host, management=True))])


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
