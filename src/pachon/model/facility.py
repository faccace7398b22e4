"""The resolved facility: what the definition says once names are followed and pools are dealt out.

The types as written in files are in ``pachon.definition.written``; nothing here reads a file.
"""

from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pachon.model.base import Frozen
from pachon.model.cluster_object import PlacedManifest
from pachon.model.instance import Instance
from pachon.model.service import Offer

Serial = str
HostName = str
SiteName = str
EnclaveName = str


class Hardware(StrEnum):
    """What stands behind a facility's hardware tables."""

    LAB = "lab"
    """Emulated by ``infra/lab`` on this machine (or by the twin where that is impossible)."""
    RACKS = "racks"
    """Real machines."""


class HostState(StrEnum):
    """Whether a defined host is to exist yet."""

    ACTIVE = "active"
    PLANNED = "planned"


class Nic(Frozen):
    """A network port of a machine."""

    name: str
    mac: str
    """Lower case, colon separated."""
    speed_gbps: int


class Disk(Frozen):
    """A drive of a machine, known by its serial."""

    name: str
    serial: str
    media: Literal["hdd", "ssd", "nvme"]
    size_gib: int


class Machine(Frozen):
    """Hardware: it has a serial, a BMC, NICs and disks, whatever host it carries."""

    serial: Serial
    site: SiteName
    rack: str
    unit: int
    vendor: str
    model: str
    cpus: int
    memory_mib: int
    bmc_address: IPv4Address
    management_address: IPv4Address
    """Its address on the site's management segment, given by DHCP to its first NIC."""
    bmc_tls_sha256: str
    """Pinned fingerprint of the BMC's certificate (64 hex digits), or empty: pinned at enrolment."""
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]

    @property
    def boot_nic(self) -> Nic:
        """The NIC that it boots over: the first one, on the management segment."""
        return self.nics[0]


class Rack(Frozen):
    """A rack of a site."""

    name: str
    units: int
    """Height in rack units."""


class Selection(Frozen):
    """Which machines a pool may take: those that match everything said here."""

    model: str | None = None
    vendor: str | None = None
    racks: tuple[str, ...] = ()
    """None means all."""

    def matches(self, machine: Machine) -> bool:
        """Whether a pool with this selection may take the machine."""
        return (
            self.model in (None, machine.model)
            and self.vendor in (None, machine.vendor)
            and (not self.racks or machine.rack in self.racks)
        )


class Pool(Frozen):
    """Equal hosts of a site, dealt out over the machines that match."""

    name: str
    site: SiteName
    machines: Selection
    host_names: str
    """Ends in one ``#`` per digit of the host's number."""
    first_number: int
    first_address: IPv4Address
    """Address of number ``first_number``; the next number has the next address."""
    count: int


class UnmanagedSwitch(Frozen):
    """A switch without an operating system of ours: all its ports are the management segment."""

    name: str
    rack: str
    ports: int
    """Ports are called p1 to p<ports>."""


class Cable(Frozen):
    """A cable between a NIC of a machine and a port: of a switch machine, of an unmanaged switch or of a link's end."""

    machine: Serial
    nic: str
    switch: str
    """Serial of a machine, or the name of an unmanaged switch or of a wide-area link."""
    port: str
    """At a link: the name of the site."""


class Segment(Frozen):
    """The part of an enclave at one site: a subnet and a layer-2 network of its own."""

    enclave: EnclaveName
    site: SiteName
    subnet: IPv4Network
    vni: int

    @property
    def gateway(self) -> IPv4Address:
        """First address of the subnet."""
        return self.subnet[1]


class StoragePool(Frozen):
    """Disks of one host put together under one file system."""

    name: str
    site: SiteName
    host: HostName
    disks: tuple[str, ...]
    """Names of disks of the host's machine."""
    file_system: Literal["btrfs", "xfs"]
    mirrored: bool


class Volume(Frozen):
    """Space in a storage pool with a limit and a place where it is mounted."""

    name: str
    site: SiteName
    pool: str
    size_gib: int
    mount: str


class HostNic(Frozen):
    """A further NIC of a host and the enclave that it is on; ``pachon.model.interfaces`` says with which address."""

    name: str
    enclave: EnclaveName


class Host(Frozen):
    """A machine with a name, an enclave and groups."""

    name: HostName
    site: SiteName
    machine: Serial
    enclave: EnclaveName
    address: IPv4Address
    """On the segment of its enclave at its site."""
    groups: tuple[str, ...]
    """Ansible groups; a group's name is a role's name."""
    flavour: str
    """Kind of image."""
    pool: str
    """Pool that it was dealt from, or empty."""
    state: HostState
    nics: tuple[HostNic, ...] = ()
    """NICs on the segments of other enclaves than its own: those of a gateway."""


class DeployLimits(Frozen):
    """How much may be deployed at once at a site."""

    per_rack: int = 16
    """Machines of one rack being deployed at the same time."""
    per_boot_server: int = 8
    """Images being sent by the boot server at the same time."""
    silence_seconds: int = 180
    """A machine under deployment that says nothing for so long has failed."""
    clock_skew_seconds: int = 300
    """A machine whose clock is further off than this is not deployed."""


class Site(Frozen):
    """A place with racks, a management segment and a boot service of its own."""

    name: SiteName
    title: str
    time_zone: str
    """IANA name."""
    management: IPv4Network
    """Segment of BMC-side provisioning: boot NICs, boot service, controller."""
    bmc_network: IPv4Network
    boot_address: IPv4Address
    """Address of the site's boot service, on the management segment."""
    machines: tuple[Machine, ...]
    unmanaged_switches: tuple[UnmanagedSwitch, ...]
    cables: tuple[Cable, ...]
    segments: tuple[Segment, ...]
    hosts: tuple[Host, ...]
    storage_pools: tuple[StoragePool, ...]
    volumes: tuple[Volume, ...]
    deploy: DeployLimits
    racks: tuple[Rack, ...] = ()
    pools: tuple[Pool, ...] = ()
    kubeconfig: str = ""
    """Path of what leads to a cluster that existed before; empty: the site's own, if it has one."""
    instances: tuple[Instance, ...] = ()
    """What rollouts have left in force on hosts: never of the definition's files."""

    @cached_property
    def instances_by_host(self) -> dict[HostName, tuple[Instance, ...]]:
        """Instances of services, by host."""
        found: dict[HostName, list[Instance]] = {}
        for each in self.instances:
            found.setdefault(each.host, []).append(each)
        return {host: tuple(there) for host, there in found.items()}

    @cached_property
    def machine_by_serial(self) -> dict[Serial, Machine]:
        """Machines of the site by serial."""
        return {machine.serial: machine for machine in self.machines}

    @cached_property
    def cables_by_machine(self) -> dict[Serial, tuple[Cable, ...]]:
        """Cables of each machine's own NICs; those that end in its ports are the other machines'."""
        found: dict[Serial, list[Cable]] = {}
        for cable in self.cables:
            found.setdefault(cable.machine, []).append(cable)
        return {serial: tuple(cables) for serial, cables in found.items()}

    @cached_property
    def pool_by_name(self) -> dict[str, StoragePool]:
        """Storage pools by name."""
        return {pool.name: pool for pool in self.storage_pools}

    @cached_property
    def pooled_disks(self) -> dict[HostName, frozenset[str]]:
        """Names of the disks that storage pools use, by host."""
        found: dict[HostName, set[str]] = {}
        for pool in self.storage_pools:
            found.setdefault(pool.host, set()).update(pool.disks)
        return {host: frozenset(disks) for host, disks in found.items()}

    @cached_property
    def active_hosts(self) -> tuple[Host, ...]:
        """Hosts that are to exist now."""
        return tuple(host for host in self.hosts if host.state is HostState.ACTIVE)

    def segment(self, enclave: EnclaveName) -> Segment | None:
        """The segment of that enclave here, if it has one."""
        return next((segment for segment in self.segments if segment.enclave == enclave), None)

    @property
    def management_gateway(self) -> IPv4Address:
        """First address of the management segment."""
        return self.management[1]


class Enclave(Frozen):
    """A boundary of administration, security and availability; may span sites."""

    name: EnclaveName
    title: str
    description: str


class Flow(Frozen):
    """An allowed path between enclaves; everything else is refused."""

    source: EnclaveName
    """An enclave, or ``any``."""
    target: EnclaveName
    ports: tuple[str, ...]
    """Each ``tcp/22`` or ``udp/53``."""
    reason: str
    source_groups: tuple[str, ...] = ()
    """Only hosts of the source in one of these groups may use it; none means all of its hosts."""


class Link(Frozen):
    """A wide-area link between two sites."""

    name: str
    sites: tuple[SiteName, SiteName]
    rate_mbps: int
    delay_ms: int
    """One way."""
    subnet: IPv4Network | None = None
    """Of the two ends; None where nothing of ours is plugged into the link."""

    def address_at(self, site: SiteName) -> IPv4Address | None:
        """Address of the end at that site: the first one of the subnet for the first of ``sites``, then the second."""
        if self.subnet is None or site not in self.sites:
            return None
        return self.subnet[1 + self.sites.index(site)]

    def other_end(self, site: SiteName) -> SiteName:
        """The site at the other end."""
        return self.sites[1] if site == self.sites[0] else self.sites[0]


class Person(Frozen):
    """Somebody who logs in by name; everybody has an account on bastions, since there is no other way in."""

    name: str
    """Login name."""
    title: str
    """Name and duty, for people."""
    uid: int
    sudo: tuple[str, ...]
    """Commands with absolute paths, ``ALL`` for all, nothing for none."""
    enclaves: tuple[EnclaveName, ...]
    """Enclaves on whose hosts the person has an account and may use sudo so."""


class Placement(Frozen):
    """A service of the catalogue at a site, in an enclave, on the hosts of a group."""

    service: str
    site: SiteName
    enclave: EnclaveName
    group: str
    """Hosts in this group carry it; empty where nothing of it runs on hosts yet."""
    offer: Offer | None = None
    """What its entry in the catalogue says to hosts; None where none was read."""
    manifests: tuple[PlacedManifest, ...] = ()
    """What of it the site's cluster is to hold."""


class Facility(Frozen):
    """The whole definition, resolved."""

    name: str
    title: str
    domain: str
    hardware: Hardware
    prefix: IPv4Network
    """Everything the facility addresses lies in here."""
    sites: tuple[Site, ...]
    enclaves: tuple[Enclave, ...]
    flows: tuple[Flow, ...]
    links: tuple[Link, ...]
    placements: tuple[Placement, ...]
    people: tuple[Person, ...] = ()

    def site(self, name: SiteName) -> Site:
        """The site of that name (KeyError if there is none)."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(name)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts of all sites."""
        return tuple(host for site in self.sites for host in site.hosts)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All machines of all sites."""
        return tuple(machine for site in self.sites for machine in site.machines)
