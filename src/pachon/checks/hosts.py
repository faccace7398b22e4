"""Hosts: on a machine that is there, is large enough and is theirs alone; in an enclave that is at their site."""

from collections.abc import Iterator
from functools import cache

from pachon.checks.notes import ANYTHING, Claim, Note, contested, near, subject
from pachon.checks.sizes import FLAVOURS, GROUPS, lacking
from pachon.model.facility import Facility, Host, Pool, Site

RESERVED_GROUPS = frozenset({"all", "localhost", "ungrouped"})
EVERY_HOST = frozenset({"base", "certificates", "firewall", "log_client", "people", "resolver", "time_client"})
"""Roles that every host has; the inventory makes a group of each."""
RESERVED_PREFIXES = ("enclave_", "site_")


@cache
def group_fault(group: str) -> tuple[str, str] | None:
    """What is wrong with a group's name, and what would be right."""
    if group in RESERVED_GROUPS | EVERY_HOST or group.startswith(RESERVED_PREFIXES):
        return f"the group {group!r} is made by the inventory itself", "name a group of your own"
    if group not in GROUPS and (guess := near(group, GROUPS, otherwise="")):
        return f"there is no role for the group {group!r}", guess
    return None


def _kind(host: Host, address: str) -> Iterator[Note]:
    """Notes about flavour and groups."""
    if host.flavour not in FLAVOURS:
        cure = near(host.flavour, FLAVOURS, otherwise=f"the flavours are {', '.join(FLAVOURS)}")
        yield Note(address, f"there is no flavour {host.flavour!r}", cure, "flavour")
    for group in host.groups:
        if (fault := group_fault(group)) is not None:
            yield Note(address, fault[0], fault[1], "groups")
    if len(set(host.groups)) != len(host.groups):
        yield Note(address, "a group stands twice", "keep one of them", "groups")


def _seat(site: Site, host: Host, address: str) -> Iterator[Note]:
    """Notes about the machine that a host is on."""
    machine = site.machine_by_serial.get(host.machine)
    if machine is None:
        cure = near(host.machine, site.machine_by_serial, otherwise="add it to machines.csv")
        wrong = f"there is no machine {host.machine!r} at {site.name}"
        yield Note(address, wrong, cure, "machine", missing=host.machine)
        return
    for wrong, cure in lacking(host, machine):
        message = f"the machine {machine.serial} is too small for {host.name}: {wrong}"
        yield Note(address, message, cure, "machine", missing=machine.serial)


def in_enclave(facility: Facility, site: Site, enclave: str, address: str) -> Iterator[Note]:
    """Notes when something cannot be in that enclave at that site."""
    known = [item.name for item in facility.enclaves]
    if enclave not in known:
        cure = near(enclave, known, otherwise="add it to enclaves in facility.yaml")
        yield Note(address, f"there is no enclave {enclave!r}", cure, "enclave", missing=enclave)
    elif all(segment.enclave != enclave for segment in site.segments):
        cure = f"add one to segments in the site.yaml of {site.name}"
        wrong = f"the enclave {enclave} has no segment at {site.name}"
        yield Note(address, wrong, cure, "enclave", missing=enclave)


def _pool(site: Site, pool: Pool, dealt: int) -> Iterator[Note]:
    """A note when a pool wants more machines than there are."""
    address = subject(site.name, "pool", pool.name)
    racks = {rack.name for rack in site.racks}
    for rack in pool.machines.racks:
        if rack not in racks:
            cure = near(rack, racks, otherwise="add it to racks")
            yield Note(address, f"there is no rack {rack!r} at {site.name}", cure, "machines", missing=rack)
    if dealt < pool.count:
        wrong = f"the pool {pool.name} wants {pool.count} machines and {dealt} that match are free"
        yield Note(address, wrong, "lower count, select others, or add machines", "count", missing=ANYTHING)


def hosts(facility: Facility) -> Iterator[Note]:
    """Everything wrong with hosts and pools."""
    groups = {group for host in facility.hosts for group in host.groups} | GROUPS.keys() | EVERY_HOST
    for site in facility.sites:
        present = {segment.enclave for segment in site.segments} & {enclave.name for enclave in facility.enclaves}
        dealt: dict[str, int] = {}
        for host in site.hosts:
            address = subject(site.name, "host", host.name)
            dealt[host.pool] = dealt.get(host.pool, 0) + 1
            if host.enclave not in present:
                yield from in_enclave(facility, site, host.enclave, address)
            yield from _kind(host, address)
            yield from _seat(site, host, address)
            if host.name in RESERVED_GROUPS:
                yield Note(address, f"{host.name!r} means something else to Ansible", "give it another name", "name")
            elif host.name in groups:
                yield Note(address, f"{host.name!r} is a host and a group", "give one of them another name", "name")
        yield from contested(
            "machine",
            (Claim(host.machine, subject(site.name, "host", host.name), "machine") for host in site.hosts),
            cure="a machine carries one host",
        )
        for pool in site.pools:
            yield from _pool(site, pool, dealt.get(pool.name, 0))
