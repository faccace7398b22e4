"""Subnets that do not overlap, addresses that lie in their subnet, each used once; the lab's own limits."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from pachon.checks.notes import Claim, Note, contested, subject
from pachon.model.facility import Facility, Hardware, Site

LAB_RANGE = IPv4Network("198.18.0.0/15")
"""Kept for benchmarks (RFC 2544): what a lab sends can reach nobody."""


def reserved_by_lab(prefix: IPv4Network) -> IPv4Network:
    """The end of a lab's prefix, kept for its own links: the last /24, or the last /28 of a prefix longer than /23."""
    length = max(24 if prefix.prefixlen <= 23 else 28, prefix.prefixlen)
    return IPv4Network((int(prefix.broadcast_address) & ~(2 ** (32 - length) - 1), length))


def _subnets(site: Site) -> Iterator[tuple[IPv4Network, str, str]]:
    yield site.management, site.name, "management"
    yield site.bmc_network, site.name, "bmc_network"
    for segment in site.segments:
        yield segment.subnet, subject(site.name, "segment", segment.enclave), "subnet"


def _link_subnets(facility: Facility) -> Iterator[tuple[IPv4Network, str, str]]:
    return ((link.subnet, f"link/{link.name}", "subnet") for link in facility.links if link.subnet is not None)


def subnets(facility: Facility) -> Iterator[Note]:
    """Subnets that overlap, or lie where they may not."""
    prefix = facility.prefix
    lab = facility.hardware is Hardware.LAB
    if lab and not prefix.subnet_of(LAB_RANGE):
        yield Note("facility", f"the prefix {prefix} of a lab lies outside {LAB_RANGE}", "take one inside it", "prefix")
    elif lab and prefix.prefixlen > 26:
        yield Note("facility", f"the prefix {prefix} is too small for a lab", "take a /26 or larger", "prefix")
    reserved = reserved_by_lab(prefix)
    found = sorted(
        [*_link_subnets(facility), *(each for site in facility.sites for each in _subnets(site))],
        key=lambda item: (int(item[0].network_address), item[0].prefixlen),
    )
    widest: tuple[IPv4Network, str] | None = None
    for subnet, address, key in found:
        if not subnet.subnet_of(prefix):
            yield Note(address, f"{key} {subnet} lies outside the facility's prefix {prefix}", "take one inside", key)
        elif lab and subnet.overlaps(reserved):
            cure = f"take one below {reserved.network_address}"
            yield Note(address, f"{key} {subnet} overlaps {reserved}, which the lab keeps for its own links", cure, key)
        if subnet.prefixlen > 30 and address.startswith("link/"):
            yield Note(address, f"{key} {subnet} has no room for two ends", "take a /30 or larger", key)
        elif subnet.prefixlen > 29 and not address.startswith("link/"):
            yield Note(address, f"{key} {subnet} has no room for hosts", "take a /29 or larger", key)
        if widest is not None and subnet.overlaps(widest[0]):
            cure = "give each a range of its own"
            yield Note(address, f"{key} {subnet} overlaps {widest[0]} of {widest[1]}", cure, key)
        if widest is None or subnet.broadcast_address > widest[0].broadcast_address:
            widest = (subnet, address)


class _Range:
    """A subnet as numbers, since asking ``ipaddress`` thousands of times is slow."""

    def __init__(self, subnet: IPv4Network) -> None:
        self.subnet = subnet
        self.first = int(subnet.network_address) + 1
        self.last = int(subnet.broadcast_address) - 1

    def note(self, value: IPv4Address, address: str, key: str) -> Iterator[Note]:
        """A note when the value cannot be the address of something in this subnet."""
        if not self.first <= int(value) <= self.last:
            usable = f"{IPv4Address(self.first + 1)} to {IPv4Address(self.last)}"
            cure = f"take one from {usable}" if self.first < self.last else f"make {self.subnet} larger"
            yield Note(address, f"the {key} {value} is no address of a host in {self.subnet}", cure, key)


def addresses(facility: Facility) -> Iterator[Note]:
    """Addresses outside their subnet, and addresses used twice."""
    claims: list[Claim] = []
    gateways = {site.management_gateway for site in facility.sites}
    for site in facility.sites:
        segments = {segment.enclave: _Range(segment.subnet) for segment in site.segments}
        management, bmc = _Range(site.management), _Range(site.bmc_network)
        claims.append(Claim(site.management_gateway, site.name, "management"))
        if site.bmc_network.num_addresses > 1 and site.bmc_network[1] not in gateways:
            claims.append(Claim(site.bmc_network[1], site.name, "bmc_network"))
        for segment in site.segments:
            if segment.subnet.num_addresses > 1 and segment.gateway not in gateways:
                gateways.add(segment.gateway)
                claims.append(Claim(segment.gateway, subject(site.name, "segment", segment.enclave), "subnet"))
        claims.append(Claim(site.boot_address, site.name, "boot_address"))
        yield from management.note(site.boot_address, site.name, "boot_address")
        for machine in site.machines:
            address = subject(site.name, "machine", machine.serial)
            claims.append(Claim(machine.management_address, address, "management_address"))
            claims.append(Claim(machine.bmc_address, address, "bmc_address"))
            yield from management.note(machine.management_address, address, "management_address")
            yield from bmc.note(machine.bmc_address, address, "bmc_address")
        told: set[str] = set()
        for host in site.hosts:
            address = subject(site.name, "host", host.name)
            claims.append(Claim(host.address, address, "address"))
            if host.enclave in segments and host.pool not in told:
                for note in segments[host.enclave].note(host.address, address, "address"):
                    told.add(host.pool or host.name)
                    yield note
    yield from contested("address", claims, cure="give each an address of its own")
