"""What the hardware stacks of a site are made from: one pure function from the definition to resource inputs.

The stacks, the digests by which a run is skipped, and an import by address all read this one answer.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pachon.model.base import Frozen
from pachon.model.facility import Disk, Facility, Host, Machine, Site, Volume
from pachon.model.interfaces import SWITCH_FLAVOUR, Use, interfaces_of, own_nic
from pachon.model.stamp import digest, generation


class Kind(StrEnum):
    """Families of resources, by their token in Pulumi."""

    MACHINE = "pachon:hardware:Machine"
    HOST = "pachon:hardware:Host"
    NETWORK = "pachon:network:Network"
    VOLUME = "pachon:storage:Volume"


REPLACING: dict[Kind, frozenset[str]] = {
    Kind.MACHINE: frozenset({"serial", "bmc_address"}),
    Kind.HOST: frozenset({"serial", "disk_serial", "image"}),
    Kind.NETWORK: frozenset({"bridge", "vni"}),
    Kind.VOLUME: frozenset({"host", "pool", "disks", "file_system", "mirrored"}),
}
"""Inputs whose change cannot be made in place."""

StackName = Literal["network", "compute", "storage"]
STACKS: tuple[StackName, ...] = ("network", "compute", "storage")
"""In the order in which they are brought up."""

MANAGEMENT = "management"
"""Name of the network that is the management segment behind switch machines, in the place of an enclave's."""
MANAGEMENT_BRIDGE = "br-mgmt"


class ImageFacts(Frozen):
    """What a host needs to know of the image of its flavour."""

    digest: str
    """Of the packed root image: its name at the boot service."""
    raw_digest: str
    raw_size_bytes: int
    kernel_digest: str
    kernel_raw_size_bytes: int


class ResourceInputs(Frozen):
    """One resource as a stack declares it."""

    kind: Kind
    address: str
    inputs: dict[str, Any]
    """JSON values only, and no secret among them; ``generation`` is included."""

    @property
    def generation(self) -> str:
        """Its generation under these inputs."""
        return str(self.inputs["generation"])


def inputs_of(
    facility: Facility, site_name: str, images: Mapping[str, ImageFacts]
) -> dict[StackName, list[ResourceInputs]]:
    """The resources of each stack of the site, in the order of the definition; ``images`` by flavour."""
    site = facility.site(site_name)
    switches = [host for host in site.active_hosts if host.flavour == SWITCH_FLAVOUR]
    others = [host for host in site.active_hosts if host.flavour != SWITCH_FLAVOUR]
    resources: dict[StackName, list[ResourceInputs]] = {"network": [], "compute": [], "storage": []}
    host_by_name: dict[str, ResourceInputs] = {}
    for stack, hosts in (("network", switches), ("compute", others)):
        for host in hosts:
            machine = site.machine_by_serial[host.machine]
            made = _host(facility, site, host, machine, images[host.flavour])
            host_by_name[host.name] = made
            resources["network" if stack == "network" else "compute"] += [_machine(site, machine), made]
    resources["network"] += _networks(facility, site, switches, host_by_name)
    resources["storage"] += [
        _volume(site, volume, host_by_name)
        for volume in site.volumes
        if site.pool_by_name[volume.pool].host in host_by_name
    ]
    return resources


def inputs_digest(resources: list[ResourceInputs]) -> str:
    """One digest for all that a stack is made from."""
    return digest([[resource.kind.value, resource.address, resource.inputs] for resource in resources])


def _resource(kind: Kind, address: str, inputs: dict[str, Any]) -> ResourceInputs:
    whole = {"address": address, **inputs}
    whole["generation"] = generation(address, whole, REPLACING[kind])
    return ResourceInputs(kind=kind, address=address, inputs=whole)


def _machine(site: Site, machine: Machine) -> ResourceInputs:
    return _resource(
        Kind.MACHINE,
        f"{site.name}/machine/{machine.serial}",
        {
            "site": site.name,
            "serial": machine.serial,
            "rack": machine.rack,
            "vendor": machine.vendor,
            "model": machine.model,
            "bmc_address": str(machine.bmc_address),
            "bmc_tls_sha256": machine.bmc_tls_sha256,
            "cpus": machine.cpus,
            "memory_mib": machine.memory_mib,
            "nics": [{"name": nic.name, "mac": nic.mac} for nic in machine.nics],
            "disks": [_disk(disk) for disk in machine.disks],
        },
    )


def _disk(disk: Disk) -> dict[str, Any]:
    return {"name": disk.name, "serial": disk.serial, "size_gib": disk.size_gib}


def system_disk(site: Site, host: Host, machine: Machine) -> Disk:
    """The disk that takes the operating system: the first one that no storage pool of the host uses."""
    pooled = site.pooled_disks.get(host.name, frozenset())
    return next((disk for disk in machine.disks if disk.name not in pooled), machine.disks[0])


def _host(facility: Facility, site: Site, host: Host, machine: Machine, image: ImageFacts) -> ResourceInputs:
    return _resource(
        Kind.HOST,
        f"{site.name}/host/{host.name}",
        {
            "site": site.name,
            "host": host.name,
            "domain": facility.domain,
            "serial": machine.serial,
            "rack": machine.rack,
            "vendor": machine.vendor,
            "model": machine.model,
            "bmc_address": str(machine.bmc_address),
            "bmc_tls_sha256": machine.bmc_tls_sha256,
            "management_address": str(machine.management_address),
            "nics": _nics(facility, site, host),
            "disk_serial": system_disk(site, host, machine).serial,
            "flavour": host.flavour,
            "image": image.model_dump(),
            "enclave": host.enclave,
            "groups": sorted(host.groups),
        },
    )


def _nics(facility: Facility, site: Site, host: Host) -> list[dict[str, Any]]:
    """Each NIC with what it is to be configured with.

    The first keeps its management address. Where the host's own address is on another NIC, answers to the management
    segment go back the way they came. A NIC without an address is only named. A gateway has no default route: the
    ways that it knows are its role's.
    """
    nics: list[dict[str, Any]] = []
    on_data = bool(own_nic(facility, site, host))
    for interface in interfaces_of(facility, site, host):
        entry: dict[str, Any] = {"name": interface.name, "mac": interface.mac}
        if interface.addresses:
            entry |= {"address": str(interface.addresses[0].ip), "prefix": interface.addresses[0].network.prefixlen}
        if interface.addresses[1:]:
            entry["also"] = str(interface.addresses[1].ip)
        if interface.use is Use.MANAGEMENT:
            entry["reply_gateway" if on_data else "gateway"] = str(site.management_gateway)
        elif interface.use is Use.SEGMENT and interface.enclave == host.enclave and "also" not in entry:
            segment = site.segment(interface.enclave)
            if segment is not None:
                entry["gateway"] = str(segment.gateway)
        nics.append(entry)
    return nics


def _networks(
    facility: Facility, site: Site, switches: list[Host], host_by_name: dict[str, ResourceInputs]
) -> list[ResourceInputs]:
    """The segments of enclaves that have ports on switches, and the management segment where boot NICs have."""
    ports: dict[tuple[str, str], list[str]] = {}
    for (serial, port), on in switch_ports(facility, site).items():
        ports.setdefault((serial, on), []).append(port)
    wanted: list[tuple[str, dict[str, Any]]] = [
        (segment.enclave, {"vni": segment.vni, "bridge": f"br{segment.vni}", "subnet": str(segment.subnet)})
        for segment in sorted(site.segments, key=lambda segment: segment.enclave)
    ]
    wanted.append((MANAGEMENT, {"vni": 0, "bridge": MANAGEMENT_BRIDGE, "subnet": str(site.management)}))
    networks: list[ResourceInputs] = []
    for name, about in wanted:
        members = [
            {
                "host": switch.name,
                "management_address": host_by_name[switch.name].inputs["management_address"],
                "generation": host_by_name[switch.name].generation,
                "ports": sorted(ports.get((switch.machine, name), ())),
            }
            for switch in switches
        ]
        members = [member for member in members if member["ports"]]
        if members:
            inputs = {"site": site.name, "enclave": name, **about, "switches": members}
            networks.append(_resource(Kind.NETWORK, f"{site.name}/network/{name}", inputs))
    return networks


def switch_ports(facility: Facility, site: Site) -> dict[tuple[str, str], str]:
    """What each cabled port of a switch machine is on, by serial and port: an enclave, or ``management``.

    A port is on the enclave of the NIC at its cable's other end: a boot NIC's is on the management segment, as is a
    port that is cabled to an unmanaged switch. A NIC that has no part in any enclave leaves its port alone.
    """
    switches = {host.machine for host in site.hosts if host.flavour == SWITCH_FLAVOUR}
    unmanaged = {switch.name for switch in site.unmanaged_switches}
    boot = {machine.serial: machine.boot_nic.name for machine in site.machines if machine.nics}
    enclaves: dict[tuple[str, str], str] = {}
    for host in site.hosts:
        if host.machine in switches or host.machine not in site.machine_by_serial:
            continue
        further = {nic.name: nic.enclave for nic in host.nics}
        for nic in site.machine_by_serial[host.machine].nics[1:]:
            enclaves[host.machine, nic.name] = further.get(nic.name, host.enclave)
    found: dict[tuple[str, str], str] = {}
    uplinks: dict[tuple[str, str], str] = {}
    for cable in site.cables:
        if cable.machine in switches and cable.switch in unmanaged and cable.nic != boot.get(cable.machine):
            uplinks[cable.machine, cable.nic] = MANAGEMENT
        elif cable.switch not in switches or cable.machine in switches:
            continue
        elif cable.nic == boot.get(cable.machine):
            found[cable.switch, cable.port] = MANAGEMENT
        elif (on := enclaves.get((cable.machine, cable.nic), "")) and site.segment(on) is not None:
            found[cable.switch, cable.port] = on
    behind = {serial for (serial, _), on in found.items() if on == MANAGEMENT}
    return {**found, **{port: on for port, on in uplinks.items() if port[0] in behind}}


def through_switches(facility: Facility, site: Site) -> bool:
    """Whether machines of the site boot through switch machines, so that those have to be there first."""
    return MANAGEMENT in switch_ports(facility, site).values()


def _volume(site: Site, volume: Volume, host_by_name: dict[str, ResourceInputs]) -> ResourceInputs:
    pool = site.pool_by_name[volume.pool]
    host = host_by_name[pool.host]
    machine = site.machine_by_serial[str(host.inputs["serial"])]
    disk_by_name = {disk.name: disk for disk in machine.disks}
    return _resource(
        Kind.VOLUME,
        f"{site.name}/volume/{volume.name}",
        {
            "site": site.name,
            "volume": volume.name,
            "host": pool.host,
            "management_address": host.inputs["management_address"],
            "host_generation": host.generation,
            "pool": pool.name,
            "disks": [{"name": name, "serial": disk_by_name[name].serial} for name in pool.disks],
            "file_system": pool.file_system,
            "mirrored": pool.mirrored,
            "size_gib": volume.size_gib,
            "mount": volume.mount,
        },
    )
