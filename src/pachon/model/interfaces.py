"""What each NIC of a host is for and which addresses it has: the one answer that every layer reads.

A host's own address is on its first further NIC that is no switch port, no gateway's foot in another enclave and no
end of a link. The gateway of a segment is the first host in the group ``gateway`` of the site that has a NIC on it.
"""

from enum import StrEnum
from ipaddress import IPv4Interface

from pachon.model.base import Frozen
from pachon.model.facility import EnclaveName, Facility, Host, Machine, Segment, Site

GATEWAY_GROUP = "gateway"
SWITCH_FLAVOUR = "switch"
PORT_PREFIX = "swp"
"""NICs so called are ports of a switch."""


class Use(StrEnum):
    """What a NIC is for."""

    LINK = "link"
    MANAGEMENT = "management"
    PORT = "port"
    SEGMENT = "segment"
    UNUSED = "unused"


class Interface(Frozen):
    """A NIC of a host, as the definition wants it."""

    name: str
    mac: str
    use: Use
    enclave: EnclaveName = ""
    """On the segment of this enclave."""
    link: str = ""
    """In the end of this link."""
    addresses: tuple[IPv4Interface, ...] = ()
    """With the prefix length of the network; the host's own address comes before that of the segment's gateway."""


def interfaces_of(facility: Facility, site: Site, host: Host) -> tuple[Interface, ...]:
    """The NICs of the host's machine, in the order of the table."""
    machine = site.machine_by_serial[host.machine]
    links = link_by_nic(facility, site, machine)
    own = own_nic(facility, site, host)
    further = {nic.name: nic.enclave for nic in host.nics}
    found: list[Interface] = []
    for nic in machine.nics:
        if nic is machine.boot_nic:
            address = IPv4Interface((machine.management_address, site.management.prefixlen))
            whole = Interface(name=nic.name, mac=nic.mac, use=Use.MANAGEMENT, addresses=(address,))
        elif nic.name.startswith(PORT_PREFIX):
            whole = Interface(name=nic.name, mac=nic.mac, use=Use.PORT)
        elif nic.name in links:
            whole = Interface(
                name=nic.name,
                mac=nic.mac,
                use=Use.LINK,
                link=links[nic.name],
                addresses=_on_link(facility, site, links[nic.name]),
            )
        elif nic.name == own or nic.name in further:
            enclave = host.enclave if nic.name == own else further[nic.name]
            whole = Interface(
                name=nic.name,
                mac=nic.mac,
                use=Use.SEGMENT,
                enclave=enclave,
                addresses=_on_segment(site, host, enclave),
            )
        else:
            whole = Interface(name=nic.name, mac=nic.mac, use=Use.UNUSED)
        found.append(whole)
    return tuple(found)


def own_nic(facility: Facility, site: Site, host: Host) -> str:
    """Name of the NIC that has the host's own address, or empty where it has none."""
    machine = site.machine_by_serial.get(host.machine)
    segment = site.segment(host.enclave)
    if machine is None or segment is None or host.address not in segment.subnet:
        return ""
    elsewhere = {nic.name for nic in host.nics} | link_by_nic(facility, site, machine).keys()
    candidates = (nic.name for nic in machine.nics[1:] if not nic.name.startswith(PORT_PREFIX))
    return next((name for name in candidates if name not in elsewhere), "")


def gateway_of(site: Site, enclave: EnclaveName) -> Host | None:
    """The host that has the gateway's address of the enclave's segment at the site, planned or not."""
    for host in site.hosts:
        if GATEWAY_GROUP in host.groups and enclave in (host.enclave, *(nic.enclave for nic in host.nics)):
            return host
    return None


def link_by_nic(facility: Facility, site: Site, machine: Machine) -> dict[str, str]:
    """Names of the links that NICs of the machine are plugged into."""
    links = {link.name for link in facility.links if site.name in link.sites}
    cables = site.cables_by_machine.get(machine.serial, ())
    plugged = {cable.nic: cable.switch for cable in cables if cable.switch in links}
    switches = {switch.name for switch in site.unmanaged_switches} if plugged else set()
    return {nic: name for nic, name in plugged.items() if name not in switches}


def _on_segment(site: Site, host: Host, enclave: EnclaveName) -> tuple[IPv4Interface, ...]:
    segment = site.segment(enclave)
    if segment is None:
        return ()
    own = (_in(segment, host.address),) if enclave == host.enclave else ()
    if GATEWAY_GROUP not in host.groups:
        return own
    gateway = gateway_of(site, enclave)
    return (*own, _in(segment, segment.gateway)) if gateway is not None and gateway.name == host.name else own


def _in(segment: Segment, address: object) -> IPv4Interface:
    return IPv4Interface(f"{address}/{segment.subnet.prefixlen}")


def _on_link(facility: Facility, site: Site, name: str) -> tuple[IPv4Interface, ...]:
    for link in facility.links:
        address = link.address_at(site.name)
        if link.name == name and link.subnet is not None and address is not None:
            return (IPv4Interface((address, link.subnet.prefixlen)),)
    return ()
