"""``service.yaml`` as people write it: closed types with every field described, the source of its schema."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from pachon.definition.written import PORT, PROOF, WHAT_MATCHES, Group, Name, Text, Written
from pachon.model.service import ServiceGroup, ServiceState, Tier

BASIS = r"^(ours|survey|[A-Z][A-Za-z0-9]{1,15}(-[A-Za-z0-9]{1,15}){0,3}|df-ops)$"
NAME_OR_NONE = r"^([a-z]([a-z0-9-]{0,38}[a-z0-9])?)?$"
TCP_PORT = r"^tcp/[1-9][0-9]{0,4}$"
URL_PATH = r"^/[A-Za-z0-9._~/?=&-]{0,200}$"
UNIT = r"^[A-Za-z0-9@._-]{1,80}\.(service|socket|timer|target|mount)$"
PROGRAM = r"^(/[A-Za-z0-9_][A-Za-z0-9._+-]*)+$"
FOLDER = r"^[a-z0-9][a-z0-9._-]{0,60}(/[a-z0-9][a-z0-9._-]{0,60}){0,4}$"

WHAT_MATCHES.update(
    {
        BASIS: "a document or requirement such as LDM-148, survey where none is named, ours where none states it",
        NAME_OR_NONE: "lower-case letters, digits and hyphens, beginning with a letter, or nothing",
        TCP_PORT: "tcp and a port, such as tcp/8443",
        URL_PATH: "the path of a URL, such as /health",
        UNIT: "a systemd unit with its kind, such as slurmctld.service",
        PROGRAM: "a program with its absolute path, such as /usr/bin/scontrol",
        FOLDER: "a folder inside the service's own, such as manifests",
    }
)

Basis = Annotated[str, Field(pattern=BASIS)]
Proof = Annotated[str, Field(pattern=PROOF)]


class WrittenFront(Written):
    """How a front door passes an endpoint on."""

    mode: Literal["http", "tcp"]
    """``http``: requests to ``<service>.<site>.<domain>``, with the front door's certificate; ``tcp``: connections."""
    port: Annotated[str, Field(pattern=TCP_PORT)] | None = None
    """Port of the service on the hosts that carry it; that of the endpoint if left out."""
    second_port: Annotated[str, Field(pattern=TCP_PORT)] | None = None
    """Port of a second instance on the same host: with it a rollout has two releases stand side by side."""
    plain: Text | None = None
    """Of ``http``: why what is passed on is not encrypted; left out, it is, and the hosts show their certificates."""

    @model_validator(mode="after")
    def _plain_where_it_has_a_say(self) -> Self:
        if self.mode == "tcp" and self.plain is not None:
            raise ValueError("connections are passed on as they come; leave plain out, or take mode http")
        return self

    @model_validator(mode="after")
    def _two_ports_are_two(self) -> Self:
        if self.second_port is not None and self.second_port == self.port:
            raise ValueError(f"two instances cannot have the port {self.port}; write another second_port")
        return self


class WrittenEndpoint(Written):
    """A port that the service answers on."""

    name: Name
    """What it is for."""
    port: Annotated[str, Field(pattern=PORT)]
    """Protocol and port, such as ``tcp/443``."""
    front: WrittenFront | None = None
    """Where the front door of the site answers and passes on to the hosts that carry the service; left out: they answer
    themselves."""

    @model_validator(mode="after")
    def _passed_on_by_tcp(self) -> Self:
        if self.front is not None and not self.port.startswith("tcp/"):
            raise ValueError(f"no front door passes {self.port} on; leave front out, or answer by tcp")
        return self


class WrittenOwners(Written):
    """Teams that answer for the service (teams, never people), in its six roles."""

    sponsor: Name
    """Wants it and pays for it."""
    owner: Name
    """Decides about it."""
    databases: Name
    """Administers its databases, or would if it had any."""
    infrastructure: Name
    """Keeps what it runs on."""
    operations: Name
    """Is called when it fails."""
    documentation: Name
    """Leads its documentation."""


class WrittenNeed(Written):
    """A service that this one cannot do without."""

    service: Name
    """Its folder in the catalogue."""
    contract: Annotated[str, Field(pattern=NAME_OR_NONE)] = ""
    """Its probe that has to pass before this service starts."""
    endpoint: Annotated[str, Field(pattern=NAME_OR_NONE)] = ""
    """Its one endpoint that is used; left out: all that it has."""
    later: StrictBool = False
    """Whether this service does without until that one is deployable."""


KEYS_OF_PROBES = {
    "tcp": ({"endpoint"}, set[str]()),
    "http": ({"endpoint", "path"}, {"status"}),
    "unit": ({"group", "unit"}, set[str]()),
    "slurm": ({"group", "partition", "workers"}, set[str]()),
    "command": ({"group", "command"}, set[str]()),
    "role": ({"role"}, set[str]()),
}
"""Of each kind of probe the keys that it must have, and those that it may have."""


class WrittenProbe(Written):
    """One way to tell that the service works; who needs the service names one as its health contract."""

    name: Name
    """Its name."""
    kind: Literal["tcp", "http", "unit", "slurm", "command", "role"]
    """``tcp``: an endpoint accepts connections; ``http``: it answers a path with a status; ``unit``: a unit is active;
    ``slurm``: a partition is up with workers; ``command``: a program ends well; ``role``: the role's tests pass."""
    endpoint: Name | None = None
    """Of ``tcp`` and ``http``: one of the service's endpoints."""
    path: Annotated[str, Field(pattern=URL_PATH)] | None = None
    """Of ``http``: what is asked for."""
    status: Annotated[int, Field(strict=True, ge=100, le=599)] | None = None
    """Of ``http``: the answer's status; 200 if left out."""
    group: Group | None = None
    """Of ``unit``, ``slurm`` and ``command``: hosts in this group are looked at."""
    unit: Annotated[str, Field(pattern=UNIT)] | None = None
    """Of ``unit``: its name."""
    partition: Group | None = None
    """Of ``slurm``: its name."""
    workers: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    """Of ``slurm``: so many at least take jobs."""
    command: Annotated[tuple[Text, ...], Field(min_length=1, max_length=20)] | None = None
    """Of ``command``: the program with its absolute path, then its arguments, one an item."""
    role: Group | None = None
    """Of ``role``: its name."""

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        must, may = KEYS_OF_PROBES[self.kind]
        written = {key for key in self.model_fields_set - {"name", "kind"} if getattr(self, key) is not None}
        if lacking := sorted(must - written):
            raise ValueError(f"the probe {self.name} is of kind {self.kind} and has no {lacking[0]}; add {lacking[0]}")
        if strange := sorted(written - must - may):
            raise ValueError(f"a probe of kind {self.kind} has no {strange[0]}; take {strange[0]} out of {self.name}")
        if self.command is not None and not self.command[0].startswith("/"):
            raise ValueError(f"the command {self.command[0]} has no absolute path; write {WHAT_MATCHES[PROGRAM]}")
        return self


class WrittenHours(Written):
    """When the service has to be there."""

    when: Literal["always", "observing", "by-day", "observing-and-by-day"]
    """``always``, or when."""
    basis: Basis
    """Document, requirement or parameter that states it; ``survey`` where none is named; ``ours`` where none does."""


FIGURES = ("availability_percent", "outage_hours", "up_hours", "downtime_days_a_year", "delay_seconds")


class WrittenObjective(Written):
    """What is promised: one of the five figures, and what it is of."""

    of: Text
    """What of the service, or when it counts."""
    basis: Basis
    """Document, requirement or parameter that states it; ``survey`` where none is named; ``ours`` where none does."""
    availability_percent: Annotated[float, Field(strict=True, gt=0, le=100)] | None = None
    """At least so much of the time."""
    outage_hours: Annotated[int, Field(strict=True, ge=1, le=8760)] | None = None
    """One outage is at most so long."""
    up_hours: Annotated[int, Field(strict=True, ge=1, le=8760)] | None = None
    """So long without a break at least, in any ``in_hours``."""
    in_hours: Annotated[int, Field(strict=True, ge=1, le=8760)] | None = None
    """The span that ``up_hours`` is of."""
    downtime_days_a_year: Annotated[int, Field(strict=True, ge=1, le=366)] | None = None
    """All outages of a year together are at most so long."""
    delay_seconds: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = None
    """It takes at most so long."""

    @model_validator(mode="after")
    def _one_figure(self) -> Self:
        written = [name for name in FIGURES if getattr(self, name) is not None]
        if len(written) != 1:
            said = " and ".join(written) or "no figure"
            raise ValueError(f"an objective has one figure and this one has {said}; write one of {', '.join(FIGURES)}")
        if (self.up_hours is None) != (self.in_hours is None):
            raise ValueError("up_hours and in_hours go together; write both, such as 24 in 48")
        return self


class WrittenRecovery(Written):
    """A span of recovery."""

    hours: Annotated[int, Field(strict=True, ge=0, le=8760)]
    """At most so long."""
    basis: Basis
    """Document, requirement or parameter that states it; ``survey`` where none is named; ``ours`` where none does."""


class WrittenBackup(Written):
    """How what the service keeps survives its hosts."""

    how: Text
    """What is copied where, or from what it is made again."""
    verified: Text | None = None
    """How it is known that this works."""
    basis: Basis
    """Document, requirement or parameter that states it; ``survey`` where none is named; ``ours`` where none does."""
    proof: tuple[Proof, ...] = ()
    """Tests that restore it, as pytest names them."""


class WrittenChange(Written):
    """Who lets a change in, and when."""

    when: Literal["any-time", "by-day", "not-observing", "set-by-observatory"]
    """When a change may be inserted."""
    approver: Name
    """Team whose approval it takes."""
    notice_hours: Annotated[int, Field(strict=True, ge=1, le=8760)] | None = None
    """Users are told so long before."""
    observatory_veto: Basis | None = None
    """What states that the Observatory has the last word on inserting and judging a change."""
    basis: Basis
    """Document, requirement or parameter that states it; ``survey`` where none is named; ``ours`` where none does."""


class WrittenKubernetes(Written):
    """What of the service runs in the clusters."""

    form: Literal["manifests", "kustomize", "helm"]
    """``manifests``: YAML files as they are; ``kustomize``: a kustomization; ``helm``: a chart, rendered by Helm."""
    path: Annotated[str, Field(pattern=FOLDER)]
    """Folder with them, inside the service's own."""


class WrittenDeployment(Written):
    """How the service gets to where it is placed: by roles, in Kubernetes, or both."""

    roles: tuple[Group, ...] = ()
    """Roles of ``playbooks/roles`` that make hosts carry it."""
    kubernetes: WrittenKubernetes | None = None
    """What of it runs in the clusters."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.roles and self.kubernetes is None:
            raise ValueError("a deployment is by roles, in kubernetes, or both; write either")
        return self


class WrittenService(Written):
    """``service.yaml``: what a service is, who answers for it and what it needs."""

    title: Text
    """Its name for people."""
    numbers: Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=9999)], ...], Field(min_length=1)]
    """Its numbers in the facility's list of services: its own first, then those that fold into it."""
    group: ServiceGroup
    """The group that it belongs to."""
    also_serves: tuple[ServiceGroup, ...] = ()
    """Other groups that it serves."""
    sites: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Sites that it is meant for."""
    enclaves: tuple[Name, ...] = ()
    """Enclaves that it is meant for; none written means all."""
    tier: Tier
    """``real-time``: cannot be run again later; ``critical``: can be recovered; ``operational``."""
    state: ServiceState
    """``declared``: written down and no more; ``deployable``: its roles or manifests are there and deploy it."""
    hours: WrittenHours | None = None
    """When it has to be there."""
    owners: WrittenOwners
    """Teams that answer for it."""
    operating: Text
    """What operating it means."""
    stated: tuple[Text, ...] = ()
    """Numbers that the survey's documents state for it."""
    needs: tuple[WrittenNeed, ...] = ()
    """Services that it cannot do without, each with the health contract that it waits for."""
    endpoints: tuple[WrittenEndpoint, ...] = ()
    """Ports that it answers on."""
    probes: tuple[WrittenProbe, ...] = ()
    """How it is told that it works."""
    objectives: tuple[WrittenObjective, ...] = ()
    """What is promised of it."""
    recovery_time: WrittenRecovery | None = None
    """How long it takes at most until it works again."""
    recovery_point: WrittenRecovery | None = None
    """How much of the newest is lost at most."""
    backup: WrittenBackup | None = None
    """How what it keeps survives, and how that is verified."""
    cold_start: tuple[Text, ...] = ()
    """Steps of starting it when nothing runs but what it needs."""
    cold_stop: tuple[Text, ...] = ()
    """Steps of stopping it when nobody who needs it runs."""
    change: WrittenChange | None = None
    """Who lets a change in, and when."""
    deployment: WrittenDeployment | None = None
    """How it gets to where it is placed."""
    lacks: tuple[Text, ...] = ()
    """What of its row in the list of services a deployable one does not do yet."""
    proof: tuple[Proof, ...] = ()
    """Tests that show it working, as pytest names them."""
