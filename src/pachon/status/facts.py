"""What a status says: sites, enclaves, hosts, services, links, the ways in, and the last campaign; each with a word."""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from pachon.model.base import Frozen
from pachon.model.facility import EnclaveName, HostName, HostState, Serial, SiteName

Power = Literal["on", "off", "no answer", "unknown"]
HostCondition = Literal["up", "degraded", "down", "unknown", "planned"]
"""``degraded``: it lets us in, and a unit of it has failed. ``unknown``: nothing at its site answers."""
SiteCondition = Literal["up", "degraded", "down", "unknown", "empty"]
ServiceCondition = Literal["up", "degraded", "down", "unknown", "planned"]
LinkCondition = Literal["carries", "cut", "unknown", "not ours"]
"""``not ours``: nothing of the facility is plugged into it."""


class HostStatus(Frozen):
    """One host as it is."""

    name: HostName
    site: SiteName
    enclave: EnclaveName
    groups: tuple[str, ...]
    address: IPv4Address
    """On its enclave's segment."""
    management_address: IPv4Address
    machine: Serial
    defined: HostState
    life: str
    """State of its machine in our records; empty if it was never enrolled."""
    power: Power
    condition: HostCondition
    up: bool
    """It lets us in and shows a key that the site signed."""
    up_since: datetime | None
    seen_at: datetime | None
    """When it last let us in, as far as we know."""
    failed_units: tuple[str, ...]
    reason: str
    """Why it is not up, or empty."""
    reached_by: str

    @property
    def right(self) -> bool:
        """Whether it is as the definition has it: an active host is up and content."""
        return self.condition in ("up", "planned")


class Served(Frozen):
    """What ``pachon serve`` of a site says of itself."""

    holder: str
    since: datetime
    open: int
    """Hosts to which it holds a channel."""
    looked_at: datetime | None
    drift: int
    """Differences that it saw then and nobody accepted."""
    silent: int
    """Hosts that did not answer it."""


class SiteStatus(Frozen):
    """One site as it is."""

    name: SiteName
    title: str
    condition: SiteCondition
    since: datetime | None
    """Of a site that is unknown: when anything of it last answered."""
    boot_service: str
    """``running``, ``stopped`` or ``not needed``."""
    deploys: Mapping[str, int]
    """Number of deploys by state."""
    hosts: tuple[HostStatus, ...]
    served: Served | None = None
    """None: nobody serves it, or its server is not to be asked."""


class SegmentStatus(Frozen):
    """An enclave's part at one site."""

    site: SiteName
    subnet: IPv4Network
    gateway: IPv4Address
    up: int
    """Active hosts of it that are up."""
    total: int
    """Active hosts of it."""


class EnclaveStatus(Frozen):
    """One enclave as it is."""

    name: EnclaveName
    title: str
    segments: tuple[SegmentStatus, ...]


class ServiceStatus(Frozen):
    """A service of the catalogue where it is placed."""

    service: str
    title: str
    site: SiteName
    enclave: EnclaveName
    hosts: tuple[HostName, ...]
    condition: ServiceCondition
    proven: bool
    """Whether the tests that show it working are there."""
    versions: tuple[str, ...]
    """Of its releases, those that are in force here, by what rollouts left: more than one in the middle of one; none
    where the definition alone says what there is."""


class LinkStatus(Frozen):
    """A link between sites."""

    name: str
    sites: tuple[SiteName, SiteName]
    rate_mbps: int
    delay_ms: int
    condition: LinkCondition


class WayIn(Frozen):
    """How somebody gets at a site's hosts."""

    site: SiteName
    who: Literal["automation", "people"]
    command: str
    """With HOST, and PERSON where people come by name."""


class FacilityStatus(Frozen):
    """A facility as it is."""

    facility: str
    definition: str
    """Why the definition cannot be used, so that this is of what was last built; empty if it can."""
    hardware: str
    """``racks``, ``lab`` or ``twin``."""
    condition: str
    """Of emulated hardware: ``up``, ``down`` or what is wrong with it; empty for racks."""
    sites: tuple[SiteStatus, ...]
    enclaves: tuple[EnclaveStatus, ...]
    services: tuple[ServiceStatus, ...]
    links: tuple[LinkStatus, ...]
    ways_in: tuple[WayIn, ...]
    campaign: dict[str, Any] | None
    """The latest, as ``pachon campaign status`` has it."""
    degraded: tuple[str, ...]
    """Everything that is not as the definition has it; empty: all is well."""
