"""A service of the catalogue: what users or other services rely on."""

from enum import StrEnum

from pachon.model.base import Frozen


class Tier(StrEnum):
    """What is mended first, kept when hardware is short, and recovered first."""

    REAL_TIME = "real-time"
    """Cannot be run again later."""
    CRITICAL = "critical"
    """Can be recovered."""
    OPERATIONAL = "operational"


class ServiceGroup(StrEnum):
    """The eight groups that the facility's services fall into, in order."""

    LEVEL_1 = "level-1"
    LEVEL_2 = "level-2"
    DATA_BACKBONE = "data-backbone"
    DATA_ACCESS_HOSTING = "data-access-hosting"
    DEVELOPMENT_SUPPORT = "development-support"
    MISCELLANEOUS = "miscellaneous"
    ITC = "itc-provisioning-and-management"
    SERVICE_MANAGEMENT = "service-management-processes"


class Endpoint(Frozen):
    """A port that a service answers on."""

    name: str
    port: str
    """``tcp/443`` and the like."""


class Owners(Frozen):
    """Teams that answer for a service."""

    sponsor: str
    owner: str
    infrastructure: str
    operations: str


class Service(Frozen):
    """An entry of the catalogue."""

    name: str
    title: str
    numbers: tuple[int, ...]
    """Its numbers in the facility's list of services; the first is its own, the others fold into it."""
    group: ServiceGroup
    also_serves: tuple[ServiceGroup, ...]
    sites: tuple[str, ...]
    enclaves: tuple[str, ...]
    """None written means every enclave."""
    tier: Tier
    observatory_veto: bool
    """Whether the Observatory has the last word on inserting a change."""
    owners: Owners
    operating: str
    """What operating it means."""
    stated: tuple[str, ...]
    """Numbers that documents state for it."""
    needs: tuple[str, ...]
    """Services that it cannot do without, or one endpoint of one: ``<service>/<endpoint>``."""
    endpoints: tuple[Endpoint, ...]
    proof: tuple[str, ...]
    """Tests that show it working; none means that it is planned."""
