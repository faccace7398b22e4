"""Where hosts hang: on a switch that is there, over the NIC that has their address; and whether flows can cross."""

from collections.abc import Iterator

from pachon.checks.hosts import in_enclave
from pachon.checks.notes import ANYTHING, Note, near, subject
from pachon.checks.sizes import FLAVOURS
from pachon.model.facility import Facility, Host, HostState, Machine, Site
from pachon.model.interfaces import GATEWAY_GROUP, PORT_PREFIX, SWITCH_FLAVOUR, gateway_of, link_by_nic, own_nic

SHOWN = 4
"""So many names are listed in one complaint."""


def fabric(facility: Facility) -> Iterator[Note]:
    """Hosts that hang on nothing, switches that are not to exist yet, and segments that flows cannot leave."""
    for site in facility.sites:
        switches = {host.machine: host for host in site.hosts if host.flavour == SWITCH_FLAVOUR}
        sound = _cables_are_sound(site)
        for host in site.hosts:
            machine = site.machine_by_serial.get(host.machine)
            if machine is None or not machine.nics:
                continue
            on_switch = {
                cable.nic
                for cable in site.cables_by_machine.get(machine.serial, ())
                if cable.switch in site.machine_by_serial
            }
            yield from _further(facility, site, host, machine=machine, on_switch=on_switch if sound else None)
            if sound and host.state is HostState.ACTIVE and switches and host.machine not in switches:
                yield from _own(facility, site, host, on_switch)
        yield from _absent(site, switches)
        if any(switch.state is HostState.ACTIVE for switch in switches.values()):
            yield from _gateways(facility, site)
        yield from _link_ends(facility, site, sound=sound)


def _cables_are_sound(site: Site) -> bool:
    """Whether each cable begins at a NIC that is there and at one of its own; if not, that is complained of alone."""
    nics = {(machine.serial, nic.name) for machine in site.machines for nic in machine.nics}
    own = [(cable.machine, cable.nic) for cable in site.cables]
    return nics.issuperset(own) and len(set(own)) == len(own)


def _further(
    facility: Facility, site: Site, host: Host, *, machine: Machine, on_switch: set[str] | None
) -> Iterator[Note]:
    """Notes about NICs of a host on other enclaves; ``on_switch``, where it is known, are those with a cable to one."""
    address = subject(site.name, "host", host.name)
    names = [nic.name for nic in machine.nics]
    if host.nics and GATEWAY_GROUP not in host.groups:
        cure = "leave nics out, or put the host into that group"
        yield Note(address, f"{host.name} has NICs in other enclaves and is not in the group 'gateway'", cure, "nics")
    seen: dict[str, str] = {}
    for nic in host.nics:
        if nic.name not in names:
            cure = near(nic.name, names[1:], otherwise="add it to nics.csv")
            wrong = f"the machine {machine.serial} has no NIC {nic.name!r}"
            yield Note(address, wrong, cure, "nics", missing=machine.serial)
        elif nic.name == names[0] or nic.name.startswith(PORT_PREFIX):
            what = "the NIC that it boots over" if nic.name == names[0] else "a port of a switch"
            yield Note(address, f"{nic.name} is {what}", "name another NIC of the machine", "nics")
        elif on_switch is not None and nic.name not in on_switch:
            cure = "cable it to a port of a switch machine in cables.csv"
            yield Note(address, f"{nic.name} has no cable to a switch machine", cure, "nics", missing=machine.serial)
        if nic.enclave == host.enclave:
            cure = "leave it out: the host is there by its own address"
            yield Note(address, f"{nic.name} is on {nic.enclave}, the host's own enclave", cure, "nics")
        for note in in_enclave(facility, site, nic.enclave, address):
            yield Note(address, note.message, note.cure, "nics", missing=note.missing)
        if nic.enclave in seen:
            yield Note(address, f"{seen[nic.enclave]} and {nic.name} are on {nic.enclave}", "keep one of them", "nics")
        seen.setdefault(nic.enclave, nic.name)


def _own(facility: Facility, site: Site, host: Host, on_switch: set[str]) -> Iterator[Note]:
    """A note when no cable leads from the NIC that has the host's address to a switch."""
    segment = site.segment(host.enclave)
    if segment is None or host.address not in segment.subnet:
        return
    nic = own_nic(facility, site, host)
    if nic not in on_switch:
        wrong = f"{host.name} hangs on no switch: " + (
            f"{nic}, which has its address, has no cable to a switch machine"
            if nic
            else "no NIC is left for its address"
        )
        cure = f"cable {nic or 'a further NIC'} of {host.machine} to a switch in cables.csv"
        yield Note(subject(site.name, "host", host.name), wrong, cure, "machine", missing=host.machine)


def _absent(site: Site, switches: dict[str, Host]) -> Iterator[Note]:
    """Notes about machines that active hosts hang on and that are not to be switches now."""
    behind: dict[str, list[str]] = {}
    for host in site.active_hosts:
        if host.machine not in switches:
            ends = {cable.switch for cable in site.cables_by_machine.get(host.machine, ())}
            for serial in sorted(ends & site.machine_by_serial.keys()):
                behind.setdefault(serial, []).append(host.name)
    carried = {host.machine: host for host in site.hosts}
    for serial, names in behind.items():
        hanging = ", ".join(names[:SHOWN]) + (" and more" if len(names) > SHOWN else "")
        if serial not in carried:
            wrong = f"active hosts hang on the machine {serial}, which carries no host: {hanging}"
            cure = f"add a host of flavour switch on {serial}"
            yield Note(subject(site.name, "machine", serial), wrong, cure, missing=ANYTHING)
        elif serial not in switches and carried[serial].flavour in FLAVOURS:
            wrong = f"active hosts hang on {carried[serial].name}, which is no switch: {hanging}"
            cure = "give it flavour: switch, or cable them to a switch"
            yield Note(subject(site.name, "host", carried[serial].name), wrong, cure, "flavour", missing=ANYTHING)
        elif serial in switches and switches[serial].state is HostState.PLANNED:
            wrong = f"active hosts hang on the switch {switches[serial].name}, which is planned: {hanging}"
            cure = "make it active, or those planned"
            yield Note(subject(site.name, "host", switches[serial].name), wrong, cure, "state", missing=ANYTHING)


def _gateways(facility: Facility, site: Site) -> Iterator[Note]:
    """A note for each segment that flows between active hosts of the site have to leave or enter, without a gateway."""
    here = {host.enclave for host in site.active_hosts if site.segment(host.enclave) is not None}
    crossing: dict[str, str] = {}
    for flow in facility.flows:
        sources = here if flow.source == "any" else here & {flow.source}
        for source in sorted(sources - {flow.target}) if flow.target in here else ():
            crossing.setdefault(source, f"from {source} to {flow.target}")
            crossing.setdefault(flow.target, f"from {source} to {flow.target}")
    for enclave, way in sorted(crossing.items()):
        gateway = gateway_of(site, enclave)
        if gateway is None or gateway.state is HostState.PLANNED:
            wrong = f"flows {way} cross here, and no active gateway has a NIC on the segment of {enclave}"
            cure = f"add {enclave} to nics of a host in the group gateway at {site.name}"
            yield Note(subject(site.name, "segment", enclave), wrong, cure, "enclave", missing=ANYTHING)


def _link_ends(facility: Facility, site: Site, *, sound: bool) -> Iterator[Note]:
    """Notes about ends of links that nothing is plugged into, or something that does not pass traffic on."""
    plugged: set[str] = set()
    for host in site.hosts:
        machine = site.machine_by_serial.get(host.machine)
        links = link_by_nic(facility, site, machine) if machine is not None else {}
        plugged |= set(links.values())
        if links and GATEWAY_GROUP not in host.groups:
            nic, name = min(links.items())
            wrong = f"{host.name} is plugged into the link {name} and is not in the group 'gateway'"
            yield Note(subject(site.name, "cable", host.machine, nic), wrong, "plug a gateway into it", "machine")
    for link in facility.links:
        if sound and link.subnet is not None and site.name in link.sites and link.name not in plugged:
            wrong = f"no host at {site.name} is plugged into the link {link.name}"
            cure = f"cable a NIC of a gateway to {link.name}, port {site.name}, or leave the subnet out"
            yield Note(f"link/{link.name}", wrong, cure, "subnet", missing=site.name)
