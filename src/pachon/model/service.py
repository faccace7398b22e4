"""A service of the catalogue: what users or other services rely on."""

from enum import StrEnum
from typing import Literal

from pachon.model.base import Frozen
from pachon.model.instance import Slot
from pachon.model.probes import HttpProbe, Probe, TcpProbe
from pachon.model.rollout import Release

OURS = "ours"
"""The basis of a figure or rule that no document states and that is therefore our own decision."""


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


class ServiceState(StrEnum):
    """Whether there is anything to deploy yet."""

    DECLARED = "declared"
    """What it is to be is written down, and no more."""
    DEPLOYABLE = "deployable"
    """Its roles or manifests are there and deploy it."""


class Front(Frozen):
    """How the front door of a site answers for an endpoint and passes on to the hosts that carry the service."""

    mode: Literal["http", "tcp"]
    """Requests are passed on, with the front door's certificate; or connections, as they come."""
    port: str
    """Port of the service on those hosts."""
    plain: str
    """Why what is passed on is not encrypted; empty where it is."""
    second_port: str = ""
    """Port of a second instance on the same host; empty where a host has room for one only."""

    @property
    def number(self) -> int:
        """The port without its protocol."""
        return int(self.port.partition("/")[2])

    @property
    def port_by_slot(self) -> dict[Slot, int]:
        """The ports of both instances of a host; empty where it has room for one only."""
        return {"a": self.number, "b": int(self.second_port.partition("/")[2])} if self.second_port else {}


class Endpoint(Frozen):
    """A port that a service answers on."""

    name: str
    port: str
    """``tcp/443`` and the like."""
    front: Front | None = None
    """None: the hosts that carry the service answer themselves."""

    @property
    def number(self) -> int:
        """The port without its protocol."""
        return int(self.port.partition("/")[2])


class Owners(Frozen):
    """Teams that answer for a service, in its six roles."""

    sponsor: str
    owner: str
    databases: str
    infrastructure: str
    operations: str
    documentation: str


class Need(Frozen):
    """A service that another one cannot do without."""

    service: str
    contract: str
    """The probe of that service which has to pass first; empty where none is written."""
    endpoint: str
    """The one endpoint that is used; empty for all of them."""
    later: bool
    """Whether it does without as long as that service is only declared."""


class Hours(Frozen):
    """When a service has to be there."""

    when: Literal["always", "observing", "by-day", "observing-and-by-day"]
    basis: str


class Objective(Frozen):
    """What is promised of a service; one of the five figures is written, the others are None."""

    of: str
    """What of it, or when it counts."""
    basis: str
    availability_percent: float | None = None
    """At least."""
    outage_hours: int | None = None
    """One outage at most."""
    up_hours: int | None = None
    """Without a break at least, in any ``in_hours``."""
    in_hours: int | None = None
    downtime_days_a_year: int | None = None
    """All outages together at most."""
    delay_seconds: int | None = None
    """At most."""

    @property
    def figure(self) -> str:
        """The figure, for people."""
        if self.availability_percent is not None:
            return f"available at least {self.availability_percent:g} % of the time"
        if self.outage_hours is not None:
            return f"no outage over {self.outage_hours} h"
        if self.up_hours is not None:
            return f"up {self.up_hours} h without a break in any {self.in_hours} h"
        if self.downtime_days_a_year is not None:
            return f"at most {self.downtime_days_a_year} days down a year"
        return f"within {self.delay_seconds} s"


class Recovery(Frozen):
    """How long recovery takes at most, or how much of the newest may be lost."""

    hours: int
    basis: str


class Backup(Frozen):
    """How what a service keeps survives its hosts, and how that is verified."""

    how: str
    verified: str | None
    basis: str
    proof: tuple[str, ...]
    """Tests that restore it."""


class Change(Frozen):
    """Who lets a change in, and when."""

    when: Literal["any-time", "by-day", "not-observing", "set-by-observatory"]
    approver: str
    """Team whose approval it takes."""
    notice_hours: int | None
    """Told so long before; None where nothing is stated."""
    observatory_veto: str | None
    """What states that the Observatory has the last word on inserting and judging a change; None: nothing does."""
    basis: str
    """Of the rest."""


class Kubernetes(Frozen):
    """What of a service runs in the clusters."""

    form: Literal["manifests", "kustomize", "helm"]
    path: str
    """Folder inside the entry's."""


class Deployment(Frozen):
    """How a service gets to where it is placed: by roles on hosts, in Kubernetes, or both."""

    roles: tuple[str, ...]
    kubernetes: Kubernetes | None

    @property
    def kind(self) -> str:
        """``role``, ``kubernetes``, or both with a plus."""
        return "+".join([*(["role"] if self.roles else []), *(["kubernetes"] if self.kubernetes else [])])


class Offer(Frozen):
    """What of an entry hosts are told: what the service is, where it answers and how that is tried."""

    title: str
    tier: Tier
    state: ServiceState
    endpoints: tuple[Endpoint, ...]
    probes: tuple[TcpProbe | HttpProbe, ...]
    first: Release | None = None
    """What stands where nothing was ever rolled out."""

    def probe_of(self, endpoint: Endpoint) -> TcpProbe | HttpProbe | None:
        """The first of its probes that tries the endpoint."""
        return next((probe for probe in self.probes if probe.endpoint == endpoint.name), None)


class Service(Frozen):
    """An entry of the catalogue; what is None or empty is not declared yet."""

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
    state: ServiceState
    hours: Hours | None
    owners: Owners
    operating: str
    """What operating it means."""
    stated: tuple[str, ...]
    """Numbers that documents state for it."""
    needs: tuple[Need, ...]
    endpoints: tuple[Endpoint, ...]
    probes: tuple[Probe, ...]
    objectives: tuple[Objective, ...]
    recovery_time: Recovery | None
    recovery_point: Recovery | None
    backup: Backup | None
    cold_start: tuple[str, ...]
    """Steps, once everything that it needs is there."""
    cold_stop: tuple[str, ...]
    """Steps, once everything that needs it has stopped."""
    change: Change | None
    deployment: Deployment | None
    lacks: tuple[str, ...]
    """What of its row in the list of services a deployable one does not do yet."""
    runbook: tuple[str, ...]
    """Headings of its ``runbook.md``; empty where there is none."""
    proof: tuple[str, ...]
    """Tests that show it working."""
    first: Release | None = None
    """What stands where nothing was ever rolled out; None: it has no releases, or none that it begins with."""

    @property
    def observatory_veto(self) -> bool:
        """Whether the Observatory has the last word on a change."""
        return self.change is not None and self.change.observatory_veto is not None

    @property
    def offer(self) -> Offer:
        """What of it hosts are told."""
        return Offer(
            title=self.title,
            tier=self.tier,
            state=self.state,
            endpoints=self.endpoints,
            probes=tuple(probe for probe in self.probes if isinstance(probe, TcpProbe | HttpProbe)),
            first=self.first,
        )

    @property
    def kind(self) -> str:
        """``role``, ``kubernetes``, ``role+kubernetes``, or empty."""
        return "" if self.deployment is None else self.deployment.kind

    def probe(self, name: str) -> Probe | None:
        """Its probe of that name, if it has one."""
        return next((probe for probe in self.probes if probe.name == name), None)

    def ports(self, need: Need) -> frozenset[str]:
        """Ports of this service that somebody with that need of it connects to."""
        return frozenset(item.port for item in self.endpoints if need.endpoint in ("", item.name))
