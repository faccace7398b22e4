"""What things of a lab are called, and which internal addresses it uses. Pure.

Namespaces bear readable names; links are hashed, since the kernel allows them 15 characters, and carry the readable
name as their alias.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pachon.errors import UsageError

MANAGEMENT_BRIDGE = "mgmt"
HUB_LINK = "controller"
FLOOR_LINK = "uplink"
CABLE_MTU = 9216
WAN_MTU = 1500
LAST_METRIC = 4278198272
"""Metric of the route that refuses what no other route takes."""


def _short(prefix: str, text: str, digits: int) -> str:
    return prefix + hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:digits]


def hub(facility: str) -> str:
    """Namespace between the controller and the sites."""
    return f"{facility}-hub"


def floor(facility: str, site: str) -> str:
    """Namespace of a site's switch ports, cables, BMCs and boot service."""
    return f"{facility}-{site}"


def wan(facility: str) -> str:
    """Namespace of the links between sites."""
    return f"{facility}-wan"


def machine_namespace(facility: str, serial: str) -> str:
    """Namespace of a running machine."""
    return f"{facility}.{serial}"


def controller_link(facility: str) -> str:
    """The one link of the lab in the machine's own network."""
    return _short("pl", facility, 6)


def floor_port(serial: str, nic: str) -> str:
    """The far end of a NIC, on the floor."""
    return _short("m", f"{serial}/{nic}", 10)


def cable_bridge(one: str, other: str) -> str:
    """The cable between two floor ports, whichever is named first."""
    return _short("c", "|".join(sorted((one, other))), 10)


def wan_bridge(link: str, site: str) -> str:
    """Where NICs are plugged into a link at a site, on its floor."""
    return _short("w", f"{link}/{site}", 10)


def wan_port(link: str, site: str) -> str:
    """The site's end of a link, on the floor."""
    return _short("x", f"{link}/{site}", 10)


def wan_end(link: str, site: str) -> str:
    """The site's end of a link, in the namespace of links."""
    return _short("e", f"{link}/{site}", 10)


def mark(facility: str, state: Path) -> str:
    """The alias by which a namespace of this lab is known: no other lab's has it."""
    return f"pachon:{facility}:{_short('', str(state), 12)}"


def reserved(prefix: IPv4Network) -> IPv4Network:
    """The part of the facility's prefix that the lab keeps for its links: the last /24, of a small prefix the last /28.

    Raises:
        UsageError: the prefix is too small for a lab.
    """
    if prefix.prefixlen > 27:
        raise UsageError(f"prefix {prefix} is too small for a lab", cure="give the facility at least a /27")
    length = 24 if prefix.prefixlen <= 23 else 28
    return IPv4Network((int(prefix.broadcast_address) - (1 << (32 - length)) + 1, length))


@dataclass(frozen=True)
class Pair:
    """The two ends of an internal link, a /31."""

    near: IPv4Address
    """The end on the controller's side."""
    far: IPv4Address


def pair(prefix: IPv4Network, number: int) -> Pair:
    """Addresses of the lab's link of that number; 0 is the controller's, n + 1 that of site n.

    Raises:
        UsageError: more sites than the reserved range has room for.
    """
    room = reserved(prefix)
    if 2 * number + 3 >= room.num_addresses:
        raise UsageError(f"prefix {prefix} has no room for {number} sites", cure="give the facility a larger prefix")
    return Pair(near=room[2 * number + 2], far=room[2 * number + 3])
