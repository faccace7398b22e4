"""A world of rollouts in one file: instances, weights and health as JSON, time that passes at once.

It tells each effect once it is there (``cross``), so that a process can be killed then, and keeps a line for
each thing that it sees go wrong: requests sent to nothing, versions mixed by more than one step.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pachon.errors import PermanentError, RefusedError, TemporaryError
from pachon.model.rollout import Place, Release
from pachon.rollout.world import Finding
from pachon.store.lease import Lease
from tests.rollouts import NEW, NOW, OLD

Crossing = Callable[[str], None]
Change = Callable[[dict[str, list[str]], dict[str, int]], None]


def nobody(name: str) -> None:
    """Cross a boundary and go on."""


@dataclass
class FiledWorld:
    """The world in a file; what a bad release does is told by ``bad``."""

    file: Path
    bad: str = ""
    """``start``, ``refused``, ``health``, ``smoke``, ``query`` or nothing."""
    cross: Crossing = nobody
    away: dict[str, int] = field(default_factory=dict)
    """Calls that cannot be made just now, and for how many more times."""
    asked: list[str] = field(default_factory=list)
    each_second: Callable[["FiledWorld"], None] | None = None
    """What happens beside it, told every time that time passes."""

    @classmethod
    def made(cls, file: Path, places: Sequence[Place], **settings: Any) -> "FiledWorld":
        """A world in which the old release serves at these places."""
        there = {
            each.address: {
                "there": {OLD.version: list(each.instances), NEW.version: []},
                "shares": {OLD.version: 100, NEW.version: 0},
            }
            for each in places
        }
        world = cls(file, **settings)
        world.write({"now": NOW.isoformat(), "places": there, "wrong": [], "effects": [], "tokens": {}})
        return world

    def read(self) -> dict[str, Any]:
        """All of it."""
        return dict(json.loads(self.file.read_text()))

    def write(self, whole: Mapping[str, Any]) -> None:
        """Put all of it in place."""
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps(whole))
        draft.replace(self.file)

    def now(self) -> datetime:
        """The moment of the file."""
        return datetime.fromisoformat(self.read()["now"])

    async def sleep(self, seconds: float) -> None:
        """Move the file's clock."""
        whole = self.read()
        moment = datetime.fromisoformat(whole["now"]) + timedelta(seconds=seconds)
        self.write({**whole, "now": moment.isoformat()})
        if self.each_second is not None:
            self.each_second(self)

    async def look(self, place: Place) -> Mapping[str, tuple[str, ...]]:
        """Instances by version."""
        self._ask("look", place)
        return {version: tuple(names) for version, names in self._place(place)["there"].items()}

    async def artefacts(self, site: str) -> frozenset[str]:
        """Those of both releases."""
        return frozenset(each.digest for release in (OLD, NEW) for each in release.artefacts)

    async def start(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Have them there, one after another."""
        self._ask("start", place, lease)
        if self.bad == "start" and release.version == NEW.version:
            raise PermanentError(f"{release.version} ends as soon as it is started", cure="mend it")
        if self.bad == "refused" and release.version == NEW.version:
            raise RefusedError(f"{release.version} has no place at the front door", cure="give it one")
        for name in instances:
            self._change("start", place, _adding(release.version, name))

    async def stop(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Have them gone, one after another."""
        self._ask("stop", place, lease)
        for name in instances:
            self._change("stop", place, _dropping(release.version, name))

    async def weigh(self, place: Place, shares_percent: Mapping[str, int], *, lease: Lease) -> None:
        """Have the front door share out so."""
        self._ask("weigh", place, lease)
        self._change("weigh", place, lambda there, shares: shares.update(shares_percent))

    async def health(self, place: Place, release: Release, instances: Sequence[str], probe: str) -> Finding:
        """Whether all of them are there, and well."""
        self._ask("health", place)
        there = self._place(place)["there"][release.version]
        gone = [name for name in instances if name not in there]
        well = not gone and not (self.bad == "health" and release.version == NEW.version)
        return Finding(well, "answers" if well else f"{', '.join(gone or instances)} does not answer")

    async def smoke(self, place: Place, release: Release, instance: str, command: Sequence[str]) -> Finding:
        """Whether a user can do anything with it."""
        self._ask("smoke", place)
        return Finding(not (self.bad == "smoke" and release.version == NEW.version), "a user finds nothing")

    async def close(self) -> None:
        """Nothing is held."""

    async def query(self, place: Place, query: str) -> float | None:
        """The share of errors: none, or many as soon as the new release gets requests."""
        self._ask("query", place)
        return 0.5 if self.bad == "query" and self._place(place)["shares"][NEW.version] else 0.0

    def _ask(self, what: str, place: Place, lease: Lease | None = None) -> None:
        self.asked.append(f"{what} {place.site}")
        if lease is not None:
            self._fence(place, lease)
        if left := self.away.get(what, 0):
            self.away[what] = left - 1
            raise TemporaryError(f"{what} cannot be asked just now")

    def _fence(self, place: Place, lease: Lease) -> None:
        """As hosts do: nothing of a writer that another one has come after."""
        whole = self.read()
        known = whole["tokens"].get(place.site, 0)
        if (lease.site, max(known, lease.fencing_token)) != (place.site, lease.fencing_token):
            raise TemporaryError(f"a writer with token {known} has come after {lease.fencing_token} of {lease.site}")
        if lease.fencing_token > known:
            self.write({**whole, "tokens": {**whole["tokens"], place.site: lease.fencing_token}})

    def _place(self, place: Place) -> dict[str, Any]:
        return dict(self.read()["places"][place.address])

    def _change(self, what: str, place: Place, change: Change) -> None:
        whole = self.read()
        one = whole["places"][place.address]
        change(one["there"], one["shares"])
        whole["effects"].append(f"{place.site} {what} {one}")
        whole["wrong"] += wrong_with(place, one)
        others = [each for address, each in whole["places"].items() if address != place.address]
        if _mixed(one) and any(map(_mixed, others)):
            whole["wrong"].append("two places are mixed at once")
        self.write(whole)
        self.cross(f"{place.site}/{what}")


def _adding(version: str, name: str) -> Change:
    def change(there: dict[str, list[str]], shares: dict[str, int]) -> None:
        if name not in there[version]:
            there[version].append(name)

    return change


def _dropping(version: str, name: str) -> Change:
    def change(there: dict[str, list[str]], shares: dict[str, int]) -> None:
        if name in there[version]:
            there[version].remove(name)

    return change


def _mixed(one: Mapping[str, Any]) -> bool:
    return bool(one["there"][OLD.version] and one["there"][NEW.version])


def wrong_with(place: Place, one: Mapping[str, Any]) -> list[str]:
    """What is wrong with a place as it is at this moment."""
    found = [
        f"{place.address}: {share} % to {version}, of which nothing is there"
        for version, share in one["shares"].items()
        if share and not one["there"][version]
    ]
    if sum(map(len, one["there"].values())) > len(place.instances) + place.room:
        found.append(f"{place.address}: more than there is room for")
    return found


def ends(world: FiledWorld, places: Sequence[Place]) -> set[str]:
    """The versions that places have, all of them whole; raises where one is not."""
    whole, found = world.read(), set()
    assert whole["wrong"] == []
    for place in places:
        one = whole["places"][place.address]
        (version,) = [version for version, names in one["there"].items() if names]
        assert sorted(one["there"][version]) == sorted(place.instances)
        assert one["shares"][version] == 100
        found.add(version)
    return found
