"""A service with two releases at two sites, made in code: what tests of rollouts share."""

from datetime import UTC, datetime
from typing import Any

from pachon.model.probes import HttpProbe
from pachon.model.rollout import (
    Artefact,
    Canary,
    HealthGate,
    Pace,
    Place,
    QueryGate,
    Release,
    Rules,
    SmokeGate,
    WaveRule,
    Window,
)
from pachon.model.service import Change, Endpoint, Owners, Service, ServiceGroup, ServiceState, Tier
from pachon.rollout.planning import Facts

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
SITES = ("archive", "base")
ZONES = {"archive": "America/Chicago", "base": "America/Santiago"}


def release(version: str, **changes: Any) -> Release:
    """A release whose archive's digest is made of its version."""
    digit = f"{sum(map(int, version.split('.'))) % 16:x}"
    given: dict[str, Any] = {
        "service": "search",
        "version": version,
        "kind": "role",
        "artefacts": (Artefact(name="archive", digest="sha256:" + digit * 64),),
        "arguments": {"search": {"version": version}},
    }
    return Release(**{**given, **changes})


OLD, NEW = release("1.0.0"), release("1.1.0")


def place(site: str = "archive", *, instances: int = 2, room: int | None = None, enclave: str = "us-dac") -> Place:
    """A place with so many instances; each may have a second one beside it, unless room is given."""
    names = tuple(f"{site}-{number}" for number in range(1, instances + 1))
    return Place(
        service="search", site=site, enclave=enclave, instances=names, room=instances if room is None else room
    )


def rules(**changes: Any) -> Rules:
    """Canary, archive before base, one gate of each kind."""
    given: dict[str, Any] = {
        "service": "search",
        "strategy": Canary(shares_percent=(5, 50, 100)),
        "pace": Pace(soak_seconds=5, check_seconds=5),
        "side_by_side": True,
        "waves": (
            WaveRule(name="archive", places=("archive",), after=()),
            WaveRule(name="base", places=("base",), after=("archive",)),
        ),
        "gates": (
            HealthGate(name="answers", probe="https"),
            SmokeGate(name="user", command=("/usr/bin/true",)),
            QueryGate(name="errors", query="errors", at_most=0.01, at_least=None),
        ),
        "windows": (),
    }
    return Rules(**{**given, **changes})


def service(*, change: Change | None = None) -> Service:
    """The service's entry, as far as rollouts go by it."""
    empty: dict[str, Any] = dict.fromkeys(
        ("also_serves", "stated", "needs", "objectives", "cold_start", "cold_stop", "lacks", "runbook", "proof"), ()
    )
    team = dict.fromkeys(("sponsor", "owner", "databases", "infrastructure", "operations", "documentation"), "team")
    return Service(
        name="search",
        title="Search",
        numbers=(1,),
        group=ServiceGroup.DATA_ACCESS_HOSTING,
        sites=SITES,
        enclaves=(),
        tier=Tier.OPERATIONAL,
        state=ServiceState.DEPLOYABLE,
        hours=None,
        owners=Owners(**team),
        operating="Finds things.",
        endpoints=(Endpoint(name="https", port="tcp/443"),),
        probes=(HttpProbe(name="https", endpoint="https", path="/health", status=200),),
        recovery_time=None,
        recovery_point=None,
        backup=None,
        change=change,
        deployment=None,
        **empty,
    )


def facts(*places: Place, **changes: Any) -> Facts:
    """The old release serves everywhere, and everything is there."""
    there = places or tuple(place(site) for site in SITES)
    given: dict[str, Any] = {
        "facility": "made",
        "zones": ZONES,
        "places": there,
        "running": {each.address: frozenset({OLD.version}) for each in there},
        "artefacts": {site: frozenset(each.digest for each in (*OLD.artefacts, *NEW.artefacts)) for site in SITES},
        "releases": {OLD.version: OLD, NEW.version: NEW},
        "recorded": {},
        "proven": frozenset(),
        "holds": (),
    }
    return Facts(**{**given, **changes})


ANY_HOUR = Window(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), opens="00:00", closes="23:59", clock="utc")
