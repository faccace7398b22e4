"""Racks and cables: every end is there, no end is used twice, and every machine can boot over its first NIC."""

from collections.abc import Collection, Iterator, Mapping

from pachon.checks.notes import Claim, Note, contested, near, subject
from pachon.model.facility import Cable, Facility, Link, Machine, Site

NO_MAC = "00:00:00:00:00:00"


def _link_end(site: Site, cable: Cable, link: Link, address: str) -> Iterator[Note]:
    """Notes about a cable that is plugged into a wide-area link."""
    if site.name not in link.sites:
        cure = f"it joins {' and '.join(link.sites)}"
        yield Note(address, f"the link {link.name} does not end at {site.name}", cure, "switch")
    elif cable.port != site.name:
        cure = f"write {site.name!r}: the port of a link is its own site's end"
        yield Note(address, f"the link {link.name} has no end {cable.port!r} here", cure, "port")
    elif link.subnet is None:
        wrong = f"the link {link.name} has no subnet, and {cable.machine} is plugged into it"
        yield Note(address, wrong, "give the link a subnet of at least a /30 in facility.yaml", "switch")


def _port(facility: Facility, site: Site, cable: Cable, address: str) -> Iterator[Note]:
    """Notes about the switch end of a cable."""
    unmanaged = {switch.name: switch for switch in site.unmanaged_switches}
    machines = site.machine_by_serial
    links = {link.name: link for link in facility.links}
    if cable.switch in links and cable.switch not in unmanaged and cable.switch not in machines:
        yield from _link_end(site, cable, links[cable.switch], address)
    elif cable.switch in unmanaged:
        ports = unmanaged[cable.switch].ports
        number = cable.port.removeprefix("p")
        if not (cable.port.startswith("p") and number.isascii() and number.isdigit() and 1 <= int(number) <= ports):
            wrong = f"the switch {cable.switch} has no port {cable.port!r}"
            yield Note(address, wrong, f"its ports are p1 to p{ports}", "port")
    elif cable.switch in machines:
        names = [nic.name for nic in machines[cable.switch].nics]
        if cable.port not in names:
            wrong = f"the switch {cable.switch} has no port {cable.port!r}"
            otherwise = f"its ports are {', '.join(names[1:9])} and so on" if len(names) > 1 else "it has no ports"
            yield Note(address, wrong, near(cable.port, names, otherwise=otherwise), "port")
        elif names and cable.port == names[0]:
            wrong = f"the port {cable.port} of {cable.switch} is the NIC that it boots over"
            cure = "cable this one to another port"
            yield Note(address, wrong, cure, "port", missing=cable.switch)
    else:
        otherwise = "name an unmanaged switch, a machine's serial or a link"
        cure = near(cable.switch, [*unmanaged, *machines, *links], otherwise=otherwise)
        yield Note(address, f"there is no switch {cable.switch!r} at {site.name}", cure, "switch", missing=cable.switch)


def _own_end(site: Site, cable: Cable, address: str) -> Iterator[Note]:
    """Notes about the machine end of a cable."""
    machine = site.machine_by_serial.get(cable.machine)
    if machine is None:
        wrong = f"there is no machine {cable.machine!r} at {site.name}"
        cure = near(cable.machine, site.machine_by_serial, otherwise="add it to machines.csv")
        yield Note(address, wrong, cure, "machine", missing=cable.machine)
    elif cable.nic not in (names := [nic.name for nic in machine.nics]):
        cure = near(cable.nic, names, otherwise=f"its NICs are {', '.join(names)}" if names else "add it to nics.csv")
        yield Note(address, f"the machine {cable.machine} has no NIC {cable.nic!r}", cure, "nic", missing=cable.machine)


def cables(facility: Facility) -> Iterator[Note]:
    """Cables whose ends are not there or are used twice."""
    for site in facility.sites:
        claims: list[Claim] = []
        nics = {(machine.serial, nic.name) for machine in site.machines for nic in machine.nics}
        ports = _ports(site)
        for cable in site.cables:
            address = subject(site.name, "cable", cable.machine, cable.nic)
            if (cable.machine, cable.nic) not in nics or (cable.switch, cable.port) not in ports:
                yield from _own_end(site, cable, address)
                yield from _port(facility, site, cable, address)
            claims.append(Claim((cable.machine, cable.nic), address, "nic"))
        ends = [
            Claim((cable.switch, cable.port), subject(site.name, "cable", cable.machine, cable.nic), "port")
            for cable in site.cables
        ]
        yield from contested("cable of NIC", claims, cure="a NIC takes one cable")
        taken = {claim.value: claim.address for claim in claims}
        yield from contested("cable of port", ends, cure="a port takes one cable")
        for value, address, key in ends:
            if value in taken:
                wrong = f"the port {value[0]} {value[1]} is already the end of {taken[value]}"  # type: ignore[index]  # pairs
                yield Note(address, wrong, "a port takes one cable", key)


def _ports(site: Site) -> set[tuple[str, str]]:
    """All ports of all switches: for cables that end elsewhere, the slower functions say why."""
    data = {(machine.serial, nic.name) for machine in site.machines for nic in machine.nics[1:]}
    return data | {
        (switch.name, f"p{port}") for switch in site.unmanaged_switches for port in range(1, switch.ports + 1)
    }


def _seat(site: Site, machine: Machine, heights: dict[str, int]) -> Iterator[Note]:
    """Notes about the machine's rack."""
    address = subject(site.name, "machine", machine.serial)
    if machine.rack not in heights:
        cure = near(machine.rack, heights, otherwise="add it to racks in site.yaml")
        yield Note(address, f"there is no rack {machine.rack!r} at {site.name}", cure, "rack", missing=machine.rack)
    elif machine.unit > heights[machine.rack]:
        wrong = f"unit {machine.unit} is above the top of rack {machine.rack}"
        yield Note(address, wrong, f"it has {heights[machine.rack]} units", "unit")


def machines(facility: Facility) -> Iterator[Note]:
    """Machines outside racks, and machines that could never boot."""
    links = {link.name for link in facility.links}
    for site in facility.sites:
        heights = {rack.name: rack.units for rack in site.racks}
        cabled = {(cable.machine, cable.nic): cable.switch for cable in site.cables}
        unmanaged = {switch.name for switch in site.unmanaged_switches}
        uplinks = _uplinks(site)
        for switch in site.unmanaged_switches:
            if switch.rack not in heights:
                address = subject(site.name, "switch", switch.name)
                cure = near(switch.rack, heights, otherwise="add it to racks")
                wrong = f"there is no rack {switch.rack!r} at {site.name}"
                yield Note(address, wrong, cure, "rack", missing=switch.rack)
        for machine in site.machines:
            yield from _seat(site, machine, heights)
            address = subject(site.name, "machine", machine.serial)
            if not machine.nics:
                yield Note(address, "the machine has no NIC", "add one to nics.csv", missing=machine.serial)
                continue
            if not machine.disks:
                yield Note(address, "the machine has no disk", "add one to disks.csv", missing=machine.serial)
            for nic in machine.nics:
                if nic.mac == NO_MAC:
                    cure = "write the one that is printed on it"
                    wrong = f"the MAC of {nic.name} is all zero"
                    yield Note(subject(site.name, "nic", machine.serial, nic.name), wrong, cure, "mac")
            boot = machine.nics[0].name
            end = cabled.get((machine.serial, boot))
            if end is None:
                wrong = f"its first NIC {boot}, which it boots over, has no cable"
                yield Note(address, wrong, "cable it to an unmanaged switch in cables.csv", missing=machine.serial)
            elif end not in unmanaged:
                yield from _boot_way(site, machine, end, uplinks=uplinks, links=links)
        for serial, ports in uplinks.items():
            if len(ports) > 1:
                address = subject(site.name, "cable", serial, ports[1])
                wrong = f"{serial} is cabled to unmanaged switches by {' and '.join(ports)}, which makes a loop"
                yield Note(address, wrong, "keep one of them", "switch")


def _uplinks(site: Site) -> dict[str, list[str]]:
    """For each machine with ports that boot NICs are cabled to: its NICs, but for its first, on unmanaged switches."""
    unmanaged = {switch.name for switch in site.unmanaged_switches}
    boot = {machine.serial: machine.nics[0].name for machine in site.machines if machine.nics}
    behind = {cable.switch for cable in site.cables if cable.nic == boot.get(cable.machine)}
    found: dict[str, list[str]] = {serial: [] for serial in site.machine_by_serial if serial in behind}
    for cable in site.cables:
        if cable.machine in found and cable.switch in unmanaged and cable.nic != boot.get(cable.machine):
            found[cable.machine].append(cable.nic)
    return found


def _boot_way(
    site: Site, machine: Machine, end: str, *, uplinks: Mapping[str, list[str]], links: Collection[str]
) -> Iterator[Note]:
    """A note when a machine whose boot NIC is on no unmanaged switch cannot boot through what it is cabled to."""
    address = subject(site.name, "machine", machine.serial)
    start = f"its first NIC {machine.nics[0].name}, which it boots over, is cabled to"
    if end not in site.machine_by_serial:
        if end in links:
            yield Note(address, f"{start} the link {end}", "cable it to a switch", missing=machine.serial)
    elif machine.serial in uplinks:
        wrong = f"{start} the switch machine {end}, and other machines boot through it"
        cure = "cable it to an unmanaged switch: it has to be there before its ports work"
        yield Note(address, wrong, cure, missing=machine.serial)
    elif not uplinks.get(end):
        wrong = f"{start} the switch machine {end}, which has no way to the management segment"
        cure = f"cable a port of {end} to an unmanaged switch, or this NIC"
        yield Note(address, wrong, cure, missing=machine.serial)
