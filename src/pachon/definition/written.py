"""The definition as people write it: one type per YAML file; rows of tables are in ``written_rows``.

Unknown keys are refused and every field is described: these types are the source of ``inventory/schema``.
What the code works with is in ``pachon.model``.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema, model_validator

from pachon.model.facility import Hardware, HostState

NAME = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"
GROUP = r"^[a-z][a-z0-9_]{0,39}$"
GROUP_OR_NONE = r"^([a-z][a-z0-9_]{0,39})?$"
SERIAL = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,38}[A-Za-z0-9])?$"
PORT_NAME = r"^[A-Za-z][A-Za-z0-9]{0,14}$"
MAC = r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$"
DOMAIN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$"
PORT = r"^(tcp|udp)/[1-9][0-9]{0,4}$"
FINGERPRINT = r"^([0-9a-f]{64})?$"
MOUNT = r"^(/[A-Za-z0-9][A-Za-z0-9._-]{0,62}){1,8}$"
ABSOLUTE_PATH = r"^(/[A-Za-z0-9_.][A-Za-z0-9._+-]*)+$"
NAME_PATTERN = r"^[a-z][a-z0-9-]{0,30}#{1,6}$"
NEED = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?(/[a-z]([a-z0-9-]{0,38}[a-z0-9])?)?$"
PROOF = r"^tests/[A-Za-z0-9_./-]+\.py(::[A-Za-z0-9_]+)+$"
LOGIN = r"^[a-z][a-z0-9-]{0,30}$"
SUDO = r"^(ALL|(/[A-Za-z0-9_][A-Za-z0-9._+-]*)+( [A-Za-z0-9@/._+-]+)*)$"
TEXT = r"^[^\x00-\x1f\x7f]+$"

WHAT_MATCHES: dict[str, str] = {
    NAME: "lower-case letters, digits and hyphens, beginning with a letter, at most 40",
    GROUP: "lower-case letters, digits and underscores, beginning with a letter, at most 40",
    GROUP_OR_NONE: "lower-case letters, digits and underscores, beginning with a letter, or nothing",
    SERIAL: "letters, digits and hyphens, at most 40",
    PORT_NAME: "a letter, then letters and digits, at most 15, such as eth0 or swp1",
    MAC: "six pairs of lower-case hexadecimal digits with colons, the second digit even, such as 02:18:00:00:01:00",
    DOMAIN: "a DNS domain in lower case with at least one dot, such as lab.pachon.test",
    PORT: "a protocol and a port, such as tcp/22 or udp/53",
    FINGERPRINT: "64 lower-case hexadecimal digits, or nothing",
    ABSOLUTE_PATH: "an absolute path, such as /etc/pachon/kubeconfig",
    MOUNT: "an absolute path without dots for folders, such as /srv/landing",
    NAME_PATTERN: "a host name that ends in one # per digit of its number, such as base-batch##",
    NEED: "a service's folder, or <service>/<endpoint>",
    PROOF: "a test as pytest names it, such as tests/lab/test_lab_up.py::test_a_machine_answers",
    LOGIN: "lower-case letters, digits and hyphens, beginning with a letter, at most 31",
    SUDO: "a command with its absolute path and plain arguments, such as /usr/bin/systemctl restart chronyd, or ALL",
    TEXT: "at least one character and none that controls a terminal",
}
"""What each pattern asks for, in words."""


def _as_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"write it as text, not as {type(value).__name__}")
    return value


Name = Annotated[str, Field(pattern=NAME)]
Group = Annotated[str, Field(pattern=GROUP)]
Serial = Annotated[str, Field(pattern=SERIAL)]
PortName = Annotated[str, Field(pattern=PORT_NAME)]
Text = Annotated[str, Field(pattern=TEXT, max_length=2000)]
Address = Annotated[
    IPv4Address, BeforeValidator(_as_text), WithJsonSchema({"type": "string", "format": "ipv4"}, mode="validation")
]
Subnet = Annotated[IPv4Network, BeforeValidator(_as_text), WithJsonSchema({"type": "string", "format": "ipv4network"})]


class Written(BaseModel):
    """Something as it stands in a file: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class WrittenEnclave(Written):
    """A boundary of administration, security and availability."""

    name: Name
    """Its name, used by segments, hosts, flows and placements."""
    title: Text
    """Its name for people."""
    description: Text
    """Who administers it and why it is apart from the others."""


class WrittenFlow(Written):
    """An allowed path between two enclaves; what no flow allows is refused."""

    source: Name
    """Enclave that opens the connection, or ``any``."""
    target: Name
    """Enclave that is connected to."""
    ports: Annotated[tuple[Annotated[str, Field(pattern=PORT)], ...], Field(min_length=1)]
    """Protocol and port of each, such as ``tcp/22``."""
    reason: Text
    """Why it is allowed."""
    source_groups: tuple[Group, ...] = ()
    """Only hosts of the source in one of these groups may use it; none written means all of its hosts."""


class WrittenLink(Written):
    """A wide-area link between two sites."""

    name: Name
    """Its name."""
    sites: tuple[Name, Name]
    """The two sites that it joins."""
    rate_mbps: Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
    """Rate in megabits a second."""
    delay_ms: Annotated[int, Field(strict=True, ge=0, le=10_000)]
    """Delay one way in milliseconds."""
    subnet: Subnet | None = None
    """Addresses of its two ends, for a link that gateways are plugged into: the second and the third one."""


class WrittenPlacement(Written):
    """A service of the catalogue in an enclave at a site."""

    service: Name
    """Folder of the service in ``inventory/catalogue``."""
    site: Name
    """Where."""
    enclave: Name
    """In which enclave; it needs a segment at that site."""
    group: Annotated[str, Field(pattern=GROUP_OR_NONE)] = ""
    """Group of the hosts that carry it; empty where nothing of it runs on hosts yet."""


class WrittenPerson(Written):
    """Somebody who logs in by name; everybody has an account on bastions, since there is no other way in."""

    name: Annotated[str, Field(pattern=LOGIN)]
    """Login name."""
    title: Text
    """Name and duty, for people."""
    uid: Annotated[int, Field(strict=True, ge=10_000, le=59_999)]
    """Number of the account, the same on every host."""
    sudo: tuple[Annotated[str, Field(pattern=SUDO)], ...] = ()
    """Commands that may be run as root, with absolute paths; ``ALL`` for all, none written for none."""
    enclaves: tuple[Name, ...] | None = None
    """Enclaves on whose hosts the person has an account; left out: all."""


class WrittenFacility(Written):
    """``facility.yaml``: what holds for all sites."""

    name: Name
    """Its name; namespaces, state and run records carry it."""
    title: Text
    """Its name for people."""
    domain: Annotated[str, Field(pattern=DOMAIN, max_length=200)]
    """DNS domain; a host's full name is ``<host>.<domain>``."""
    hardware: Hardware
    """``lab``: emulated on this machine; ``racks``: real machines."""
    prefix: Subnet
    """Every address of the facility lies in here."""
    sites: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Sites; each is a folder of that name under ``sites``."""
    enclaves: tuple[WrittenEnclave, ...] = ()
    """Enclaves; each has a segment at every site where it has hosts."""
    flows: tuple[WrittenFlow, ...] = ()
    """Allowed paths between enclaves."""
    links: tuple[WrittenLink, ...] = ()
    """Wide-area links between sites."""
    placements: tuple[WrittenPlacement, ...] = ()
    """Which services stand where."""
    people: tuple[WrittenPerson, ...] = ()
    """Who logs in by name."""


class WrittenRack(Written):
    """A rack of a site."""

    name: Name
    """Its name, used in ``machines.csv``."""
    units: Annotated[int, Field(strict=True, ge=1, le=60)] = 42
    """Height in rack units."""


class WrittenUnmanagedSwitch(Written):
    """A switch without an operating system of ours; its ports are p1 to p<ports>, all on the management segment."""

    name: Name
    """Its name, used in ``cables.csv``."""
    rack: Name
    """The rack that it stands in."""
    ports: Annotated[int, Field(strict=True, ge=1, le=4096)]
    """Number of ports."""


class WrittenSegment(Written):
    """An enclave's subnet at this site."""

    enclave: Name
    """The enclave."""
    subnet: Subnet
    """Its addresses; the first one is the gateway."""
    vni: Annotated[int, Field(strict=True, ge=1, le=16_777_215)]
    """VXLAN network identifier; one for each segment of the facility."""


class WrittenSelection(Written):
    """Which machines a pool may take: those that match everything that is written here."""

    model: Text | None = None
    """Model, as in ``machines.csv``."""
    vendor: Text | None = None
    """Vendor, as in ``machines.csv``."""
    racks: tuple[Name, ...] = ()
    """Racks; none means all."""


class WrittenPool(Written):
    """Equal hosts, dealt out over the machines that match, in the order of ``machines.csv``."""

    name: Name
    """Its name."""
    machines: WrittenSelection
    """Which machines it may take."""
    host_names: Annotated[str, Field(pattern=NAME_PATTERN)]
    """Names of its hosts: one ``#`` per digit of the number, such as ``base-batch##``."""
    first_number: Annotated[int, Field(strict=True, ge=0, le=999_999)] = 1
    """Number of its first host; numbers of hosts written out by name are passed over."""
    first_address: Address
    """Address of its first host; the next number has the next address."""
    count: Annotated[int, Field(strict=True, ge=0, le=100_000)]
    """How many hosts."""
    enclave: Name
    """The enclave of its hosts."""
    groups: tuple[Group, ...] = ()
    """Ansible groups; a group's name is a role's name."""
    flavour: Group = "server"
    """Kind of image."""
    state: HostState = HostState.ACTIVE
    """``active``: is to exist; ``planned``: not yet."""


class WrittenHost(Written):
    """A machine with a name."""

    name: Name
    """Host name."""
    machine: Serial
    """Serial of its machine."""
    enclave: Name
    """Its enclave, which needs a segment at this site."""
    address: Address
    """Its address on the segment of its enclave."""
    groups: tuple[Group, ...] = ()
    """Ansible groups; a group's name is a role's name."""
    flavour: Group = "server"
    """Kind of image."""
    state: HostState = HostState.ACTIVE
    """``active``: is to exist; ``planned``: not yet."""
    nics: dict[PortName, Name] = {}
    """NICs on the segments of other enclaves, as ``eth2: archive-base``; for gateways."""


class WrittenStoragePool(Written):
    """Disks of a host (or of each host of a pool) put together under one file system."""

    name: Name
    """Its name; for each host of a pool it is ``<name>-<host>``."""
    host: Name | None = None
    """The host; or else ``each_of``."""
    each_of: Name | None = None
    """The pool of hosts each of which gets such a storage pool; or else ``host``."""
    disks: tuple[PortName, ...] = ()
    """Names of disks; none written means every disk but the first, which is the system's."""
    file_system: Literal["btrfs", "xfs"] = "btrfs"
    """File system."""
    mirrored: StrictBool = True
    """Whether every block is kept on two disks."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.host is None) == (self.each_of is None):
            raise ValueError("a storage pool is on one host or on each of a pool; write either host or each_of")
        return self


class WrittenVolume(Written):
    """Space in a storage pool with a limit."""

    name: Name
    """Its name."""
    pool: Name
    """The storage pool that it lies in."""
    size_gib: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
    """Its limit in GiB (a whole number without a unit)."""
    mount: Annotated[str, Field(pattern=MOUNT)]
    """Where the host mounts it."""


class WrittenDeployLimits(Written):
    """How much may be deployed at once."""

    per_rack: Annotated[int, Field(strict=True, ge=1, le=1000)] = 16
    """Machines of one rack at the same time."""
    per_boot_server: Annotated[int, Field(strict=True, ge=1, le=1000)] = 8
    """Images being sent by the boot server at the same time."""
    silence_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 180
    """A machine that says nothing for so many seconds has failed."""
    clock_skew_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 300
    """A machine whose clock is further off than this is not deployed."""


class WrittenSite(Written):
    """``sites/<site>/site.yaml``: intent for one site; its hardware is in the tables beside it."""

    title: Text
    """Its name for people."""
    time_zone: Text
    """IANA name, such as ``America/Santiago``."""
    management: Subnet
    """Segment of boot NICs, boot service and controller."""
    bmc_network: Subnet
    """Addresses of the BMCs."""
    boot_address: Address
    """Address of the boot service on the management segment."""
    racks: tuple[WrittenRack, ...] = ()
    """Racks."""
    unmanaged_switches: tuple[WrittenUnmanagedSwitch, ...] = ()
    """Switches without an operating system of ours."""
    segments: tuple[WrittenSegment, ...] = ()
    """Subnet of each enclave that is at this site."""
    pools: tuple[WrittenPool, ...] = ()
    """Equal hosts, dealt out over machines."""
    hosts: tuple[WrittenHost, ...] = ()
    """Hosts that are written out one by one."""
    storage_pools: tuple[WrittenStoragePool, ...] = ()
    """Storage pools."""
    volumes: tuple[WrittenVolume, ...] = ()
    """Volumes in them."""
    deploy: WrittenDeployLimits = WrittenDeployLimits()
    """Limits of deployment."""
    kubeconfig: Annotated[str, Field(pattern=ABSOLUTE_PATH)] | None = None
    """Left out, services run in the cluster that hosts of the site make. Else: the file that leads to one which exists
    already, on the machine from which the site is brought up."""
