"""What a rollout calls out to: instances, a front door, health, Prometheus, a clock; one protocol for all kinds.

A ``TemporaryError`` of any call means that it cannot be asked or done just now: the rollout waits, and says for what.
Any other ``PachonError`` of an effect means that the release cannot be brought up: the rollout goes back.
Effects get the lease of the place's site; where a later writer's token is known they raise ``TemporaryError``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pachon.model.rollout import Place, Release
from pachon.store.lease import Lease


@dataclass(frozen=True)
class Finding:
    """What came of a probe or of a smoke test."""

    passed: bool
    said: str


class World(Protocol):
    """Where a service runs. Every effect may be asked for again, also where it is so already, and cut off anywhere."""

    def now(self) -> datetime:
        """The moment."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    async def look(self, place: Place) -> Mapping[str, tuple[str, ...]]:
        """The instances that run at the place, by version."""

    async def artefacts(self, site: str) -> frozenset[str]:
        """Digests of everything at the site that instances can be started from."""

    async def start(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Have these instances of the release running; the front door sends them nothing yet."""

    async def stop(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Have these gone: the front door sends them nothing more, what they have begun ends, then they are stopped."""

    async def weigh(self, place: Place, shares_percent: Mapping[str, int], *, lease: Lease) -> None:
        """Have the front door share requests out so, by version; among the instances of a version evenly."""

    async def health(self, place: Place, release: Release, instances: Sequence[str], probe: str) -> Finding:
        """Whether these instances of the release, asked one by one, pass that probe of the service's entry."""

    async def smoke(self, place: Place, release: Release, instance: str, command: Sequence[str]) -> Finding:
        """Whether that program ends well when it uses the instance; an empty name stands for the front door."""

    async def close(self) -> None:
        """Hang up: nothing is asked any more."""

    async def query(self, place: Place, query: str) -> float | None:
        """The value of a query of Prometheus; None where it has none."""
