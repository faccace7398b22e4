"""Turns a facility's sites, cables and NICs into the links, bridges and routes of a lab. Pure: text comes out.

Shape: the controller (the machine's own network) - hub - one floor per site. A floor holds the management bridge, the
far end of every NIC, and one two-port bridge per cable between machines, which outlives both of its ends. Links between
sites go from a bridge on the one floor through the namespace of links to a bridge on the other.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from infra.lab import names
from infra.lab.spec import Port
from pachon.errors import UsageError
from pachon.model.facility import Cable, Facility, Machine, Serial, Site, SiteName

CUT_PRIORITY = 50
"""Of the hub's rules that drop all between the controller and a site that is cut off."""
FORWARDED_GROUPS = 0xFFF8
"""Link-local multicast that a cable's bridge passes on: all that the kernel lets a bridge pass, LLDP among it."""
_NO_TRANSIT_TABLE = 100


@dataclass(frozen=True)
class End:
    """One end of a cable between machines."""

    serial: Serial
    nic: str


@dataclass(frozen=True)
class CableBridge:
    """A cable between two machines, as the floor has it."""

    bridge: str
    ends: tuple[End, End]

    @property
    def alias(self) -> str:
        """Its readable name."""
        return " - ".join(f"{end.serial}/{end.nic}" for end in self.ends)


@dataclass(frozen=True)
class LinkEnd:
    """What a wide-area link has at one of its sites."""

    link: str
    site: SiteName
    bridge: str
    """On the floor: NICs are plugged in here."""
    port: str
    """On the floor, in the bridge."""
    inner: str
    """The port's other side, in the namespace of links."""


def link_ends(facility: Facility) -> list[LinkEnd]:
    """Both ends of every link that a NIC is plugged into at one site at least."""
    plugged = {
        cable.switch for site in facility.sites for cable in site.cables if _is_plugged_in(facility, site, cable)
    }
    return [
        LinkEnd(
            link=link.name,
            site=site,
            bridge=names.wan_bridge(link.name, site),
            port=names.wan_port(link.name, site),
            inner=names.wan_end(link.name, site),
        )
        for link in facility.links
        if link.name in plugged
        for site in link.sites
    ]


def _is_plugged_in(facility: Facility, site: Site, cable: Cable) -> bool:
    """Whether the cable goes into a link."""
    return cable.port == site.name and any(cable.switch == link.name for link in facility.links)


def site_pair(facility: Facility, site: SiteName) -> names.Pair:
    """Addresses of the link between hub and site."""
    return names.pair(facility.prefix, [each.name for each in facility.sites].index(site) + 1)


def check(facility: Facility) -> None:
    """Nothing, where the facility can be a lab.

    Raises:
        UsageError: a site's network overlaps the lab's own range, or a site is called as another part of the lab.
    """
    room = names.reserved(facility.prefix)
    for site in facility.sites:
        if site.name in ("hub", "wan"):
            raise UsageError(f"a site of a lab cannot be called {site.name!r}", cure="rename the site")
        for network in (site.management, site.bmc_network, *(segment.subnet for segment in site.segments)):
            if network.overlaps(room):
                raise UsageError(
                    f"{network} of site {site.name} overlaps {room}, which the lab keeps for its own links",
                    cure=f"move the network out of {room}",
                )


def cable_bridges(site: Site) -> dict[str, CableBridge]:
    """Cables between machines of the site, by bridge name."""
    found: dict[str, CableBridge] = {}
    for cable in site.cables:
        if cable.switch in site.machine_by_serial:
            ends = (End(cable.machine, cable.nic), End(cable.switch, cable.port))
            name = names.cable_bridge(*(names.floor_port(end.serial, end.nic) for end in ends))
            found[name] = CableBridge(name, ends)
    return found


def ports(facility: Facility, site: Site) -> Mapping[Serial, tuple[Port, ...]]:
    """Every machine's NICs with the place where their cables end."""
    bridge_of: dict[tuple[Serial, str], tuple[str, str]] = {}
    for bridge in cable_bridges(site).values():
        one, other = bridge.ends
        bridge_of[one.serial, one.nic] = (bridge.bridge, f"{other.serial}/{other.nic}")
        bridge_of[other.serial, other.nic] = (bridge.bridge, f"{one.serial}/{one.nic}")
    unmanaged = {switch.name for switch in site.unmanaged_switches}
    for cable in site.cables:
        if cable.switch in unmanaged:
            bridge_of[cable.machine, cable.nic] = (names.MANAGEMENT_BRIDGE, "")
        elif _is_plugged_in(facility, site, cable):
            bridge_of[cable.machine, cable.nic] = (names.wan_bridge(cable.switch, site.name), "")
    return {machine.serial: _ports(machine, bridge_of) for machine in site.machines}


def _ports(machine: Machine, bridge_of: Mapping[tuple[Serial, str], tuple[str, str]]) -> tuple[Port, ...]:
    found: list[Port] = []
    for nic in machine.nics:
        bridge, other = bridge_of.get((machine.serial, nic.name), ("", ""))
        link = names.floor_port(machine.serial, nic.name)
        found.append(Port(nic=nic.name, mac=nic.mac, link=link, bridge=bridge, other=other))
    return tuple(found)


def signature(facility: Facility) -> str:
    """Digest of what cannot change while the lab's namespaces stand."""
    facts = [str(facility.prefix)] + [
        f"{site.name} {site.management} {site.bmc_network} {site.boot_address}" for site in facility.sites
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def namespaces(facility: Facility) -> list[str]:
    """The lab's lasting namespaces, hub first."""
    floors = [names.floor(facility.name, site.name) for site in facility.sites]
    return [names.hub(facility.name), *floors, names.wan(facility.name)]


def creation(facility: Facility) -> list[str]:
    """Commands for the machine's own network that make all namespaces and the links between them."""
    hub, controller = names.hub(facility.name), names.controller_link(facility.name)
    link = names.pair(facility.prefix, 0)
    lines = [f"netns add {namespace}" for namespace in namespaces(facility)]
    lines.append(f"link add {controller} type veth peer name {names.HUB_LINK} netns {hub}")
    for number, site in enumerate(facility.sites):
        floor = names.floor(facility.name, site.name)
        lines.append(f"link add s{number} netns {hub} type veth peer name {names.FLOOR_LINK} netns {floor}")
    return [
        *lines,
        f"link set {controller} alias {names.hub(facility.name)} addrgenmode none up",
        f"addr add {link.near}/31 dev {controller} noprefixroute",
        f"route add {facility.prefix} via {link.far} dev {controller} onlink src {link.near}",
    ]


def hub_lines(facility: Facility, mark: str) -> list[str]:
    """Commands for the hub: it passes traffic between the controller and each site, never between sites."""
    link = names.pair(facility.prefix, 0)
    lines = [
        *_start(mark),
        f"link set {names.HUB_LINK} addrgenmode none up",
        f"addr add {link.far}/31 dev {names.HUB_LINK}",
        f"route add {link.near} dev {names.HUB_LINK} table {_NO_TRANSIT_TABLE}",
        f"route add unreachable default table {_NO_TRANSIT_TABLE}",
    ]
    for number, site in enumerate(facility.sites):
        ends = site_pair(facility, site.name)
        lines += [
            f"link set s{number} alias {site.name} addrgenmode none up",
            f"addr add {ends.near}/31 dev s{number}",
            f"route add {site.management} via {ends.far} dev s{number}",
            f"route add {site.bmc_network} via {ends.far} dev s{number}",
            f"rule add iif s{number} lookup {_NO_TRANSIT_TABLE}",
        ]
    return lines


def floor_lines(facility: Facility, site: Site, mark: str) -> list[str]:
    """Commands for a site's floor: management bridge, addresses of gateway and boot service, BMC network."""
    ends = site_pair(facility, site.name)
    controller = names.pair(facility.prefix, 0).near
    bridge, length = names.MANAGEMENT_BRIDGE, site.management.prefixlen
    mac = "02:" + ":".join(f"{byte:02x}" for byte in site.management_gateway.packed) + ":00"
    return [
        *_start(mark),
        f"link set {names.FLOOR_LINK} addrgenmode none up",
        f"addr add {ends.far}/31 dev {names.FLOOR_LINK}",
        f"route add {controller} via {ends.near} dev {names.FLOOR_LINK}",
        f"link add {bridge} address {mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set {bridge} addrgenmode none up",
        f"addr add {site.management_gateway}/{length} dev {bridge}",
        f"addr add {site.boot_address}/{length} dev {bridge}",
        f"route add local {site.bmc_network} dev lo",
    ]


def nat_rules(facility: Facility, site: Site) -> str:
    """Rules of a floor, for nft: hosts see their controller as the management gateway, behind which it stands."""
    controller = names.pair(facility.prefix, 0).near
    return (
        "add table ip pachon\nadd chain ip pachon leaving { type nat hook postrouting priority srcnat; }\n"
        f'add rule ip pachon leaving ip saddr {controller} oifname "{names.MANAGEMENT_BRIDGE}" '
        f"snat to {site.management_gateway}\n"
    )


def wan_lines(mark: str) -> list[str]:
    """Commands for the namespace of links: nothing in it has an address."""
    return _start(mark)


def cut_lines(facility: Facility, site: Site) -> list[str]:
    """What to add to the hub, as ``rule add``, for the controller and the site to hear nothing of one another."""
    number = [each.name for each in facility.sites].index(site.name)
    heads = (f"iif s{number}", f"to {site.management}", f"to {site.bmc_network}")
    return [f"priority {CUT_PRIORITY + number} {head} blackhole" for head in heads]


def _start(mark: str) -> list[str]:
    return [
        f"link set lo alias {mark} up",
        f"route add unreachable default metric {names.LAST_METRIC}",
    ]


def cable_lines(site: Site, present: frozenset[str]) -> list[str]:
    """Commands for the floor that lay the cables which are missing and take away those that are not defined any more.

    ``present`` are the names of the floor's links.
    """
    wanted = cable_bridges(site)
    stale = sorted(name for name in present - set(wanted) if name[0] == "c" and len(name) == 11)
    lines = [f"link del {name}" for name in stale]
    for name, cable in sorted(wanted.items()):
        if name not in present:
            lines += [
                f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time 0 "
                f"group_fwd_mask {FORWARDED_GROUPS}",
                f'link set {name} alias "{cable.alias}" addrgenmode none mtu {names.CABLE_MTU} up',
            ]
    return lines


def link_end_lines(facility: Facility, site: Site, present: frozenset[str]) -> list[str]:
    """Commands for the floor that make the ends of links which are missing and take away those of no link any more.

    ``present`` are the names of the floor's links.
    """
    ends = [end for end in link_ends(facility) if end.site == site.name]
    wanted = {name for end in ends for name in (end.bridge, end.port)}
    lines = [f"link del {name}" for name in sorted(present - wanted) if name[0] in "wx" and len(name) == 11]
    for end in ends:
        label = f'alias "{end.link} at {end.site}" addrgenmode none mtu {names.WAN_MTU}'
        if end.bridge not in present:
            lines += [
                f"link add {end.bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {end.bridge} {label} up",
            ]
        if end.port not in present:
            lines.append(f"link add {end.port} type veth peer name {end.inner} netns {names.wan(facility.name)}")
        lines.append(f"link set {end.port} {label} master {end.bridge} up")
    return lines
