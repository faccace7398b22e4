"""Releases of a service, and the rules by which one takes the place of another: strategy, waves, gates. No I/O.

What a rollout comes to is a plan (``pachon.rollout.plan``); what became of it stands in ``model.rollout_record``.
"""

import re
from typing import Literal

from pachon.model.base import Frozen
from pachon.model.instance import Setting, Version
from pachon.model.stamp import digest

FIRST_SHARE_PERCENT = 5
"""The first share of requests that a new release gets is never larger."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Artefact(Frozen):
    """Something that a release is made of: an archive, an image, a package."""

    name: str
    digest: str
    """``sha256:`` and 64 hexadecimal digits; a tag is no digest."""


class Release(Frozen):
    """One immutable version of a service."""

    service: str
    version: Version
    kind: Literal["role", "kubernetes"]
    """Whether roles make hosts run it, or a cluster does."""
    artefacts: tuple[Artefact, ...]
    arguments: dict[str, dict[str, Setting]]
    """By role, the arguments in which it is expressed on hosts; empty for what runs in Kubernetes."""

    @property
    def digest(self) -> str:
        """Of all that it is: two releases with this in common are one."""
        return "sha256:" + digest(self.model_dump(mode="json"))

    @property
    def tags(self) -> tuple[str, ...]:
        """Artefacts that are named by something else than a digest."""
        return tuple(each.name for each in self.artefacts if not DIGEST.fullmatch(each.digest))


class Rolling(Frozen):
    """A few instances at a time; the share of the new release grows with them."""

    kind: Literal["rolling"] = "rolling"
    at_once: int = 1


class Canary(Frozen):
    """Growing shares of the requests, each judged before the next."""

    kind: Literal["canary"] = "canary"
    shares_percent: tuple[int, ...] = (5, 25, 50, 100)


class BlueGreen(Frozen):
    """All of the new release beside all of the old one, then the requests, then the old one away."""

    kind: Literal["blue-green"] = "blue-green"


Strategy = Rolling | Canary | BlueGreen


class Pace(Frozen):
    """How fast a rollout goes, and for how long two versions may stand side by side."""

    first_share_percent: int = FIRST_SHARE_PERCENT
    soak_seconds: float = 300
    """Each share is watched so long, counted only while all of its gates can be asked."""
    check_seconds: float = 10
    """Between two looks of a watch."""
    start_seconds: float = 120
    """An instance that does not pass its contract after so long is a failure."""
    mixed_minutes: float = 120
    """At one place two versions never serve for longer; a rollout that needs more goes back."""
    least_serving: int = 1
    """So many instances serve at any moment, or more."""


class WaveRule(Frozen):
    """Places that come together, and the waves that have to be behind them."""

    name: str
    places: tuple[str, ...]
    """``<site>``, or ``<site>/<enclave>``."""
    after: tuple[str, ...]


class HealthGate(Frozen):
    """A probe of the service's entry passes."""

    kind: Literal["health"] = "health"
    name: str
    probe: str


class SmokeGate(Frozen):
    """A program that uses the service as a user would ends well; it is told where by an argument."""

    kind: Literal["smoke"] = "smoke"
    name: str
    command: tuple[str, ...]
    """The program with its absolute path and its arguments; ``{address}`` stands for where the service is."""


class QueryGate(Frozen):
    """A query of Prometheus stays on the right side of a threshold."""

    kind: Literal["query"] = "query"
    name: str
    query: str
    """PromQL; ``{site}``, ``{enclave}``, ``{service}`` and ``{version}`` (the new one) are put in."""
    at_most: float | None
    at_least: float | None
    trips_after: int = 2
    """So many looks one after another on the wrong side are a failure; one alone may be chance."""

    def holds(self, value: float) -> bool:
        """Whether a value is on the right side."""
        if self.at_most is not None and not value <= self.at_most:
            return False
        return self.at_least is None or value >= self.at_least

    @property
    def threshold(self) -> str:
        """For people."""
        told = [f"at most {self.at_most:g}"] if self.at_most is not None else []
        told += [f"at least {self.at_least:g}"] if self.at_least is not None else []
        return " and ".join(told)


Gate = HealthGate | SmokeGate | QueryGate

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(Frozen):
    """When a wave may begin: from one time of day to another on these days."""

    days: tuple[Day, ...]
    opens: str
    """``HH:MM``."""
    closes: str
    """``HH:MM`` of the same day, later."""
    clock: Literal["site", "utc"]
    """Whose time of day: that of the site where the wave is, or UTC."""


class Rules(Frozen):
    """How releases of one service take each other's place: ``rollout.yaml`` of its entry, resolved."""

    service: str
    strategy: Strategy
    pace: Pace
    side_by_side: bool
    """Whether a host can carry an instance of each of two versions at once."""
    waves: tuple[WaveRule, ...]
    gates: tuple[Gate, ...]
    windows: tuple[Window, ...]
    """A wave begins in one of them; none: at any time."""


class Place(Frozen):
    """Where a service stands: at a site, in an enclave, in so many instances behind one front door."""

    service: str
    site: str
    enclave: str
    instances: tuple[str, ...]
    """Names of what carries an instance (hosts), in order."""
    room: int
    """So many instances more than these may run at once."""

    @property
    def address(self) -> str:
        """``<site>/service/<service>/<enclave>``."""
        return f"{self.site}/service/{self.service}/{self.enclave}"
