"""The plan of a rollout as a document: waves, places, and every step in its order. Nothing is left to decide."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pachon.model.base import Frozen
from pachon.model.rollout import Gate, Pace, Place, Release, Window
from pachon.model.stamp import digest

Verb = Literal["open", "start", "ready", "weigh", "watch", "stop", "prove", "settle"]
"""``open``: a wave may begin; ``ready``: new instances pass before any user gets to them; ``watch``: a share is judged
for a while; ``prove``: the whole place is judged, and the release counts as proven there; ``settle``: the way back
is over at a place."""
EFFECTS: frozenset[Verb] = frozenset({"start", "weigh", "stop"})
"""Those that change the world."""


class Step(Frozen):
    """One step at one place."""

    number: int
    """From 1, in the order of the whole way."""
    place: str
    verb: Verb
    version: str = ""
    """Of ``start``, ``ready`` and ``stop``: whose instances."""
    instances: tuple[str, ...] = ()
    shares_percent: dict[str, int] = Field(default_factory=dict)
    """Of ``weigh``: by version."""
    smoke: bool = False
    """Of ``ready``: whether the smoke tests are run too."""

    @property
    def said(self) -> str:
        """For people."""
        which = f"{len(self.instances)} of {self.version} ({', '.join(self.instances)})"
        shares = ", ".join(f"{share} % to {version}" for version, share in self.shares_percent.items())
        return {
            "open": "wait until it may begin",
            "start": f"start {which}",
            "ready": f"wait until {which} pass",
            "weigh": shares,
            "watch": "watch it",
            "stop": f"drain and stop {which}",
            "prove": "prove the whole of it",
            "settle": "is back",
        }[self.verb]


class Wave(Frozen):
    """Places that come one after another, once earlier waves are proven."""

    name: str
    sites: tuple[str, ...]
    steps: tuple[Step, ...]


class RolloutPlan(Frozen):
    """From one release to the next, everywhere that it names."""

    facility: str
    service: str
    old: Release
    new: Release
    strategy: str
    pace: Pace
    gates: tuple[Gate, ...]
    windows: tuple[Window, ...]
    zones: dict[str, str]
    """Time zone of each site."""
    needs_word: str
    """What says that the Observatory has the last word; empty: nothing does."""
    places: tuple[Place, ...]
    """In the order in which they change."""
    waves: tuple[Wave, ...]

    @property
    def seal(self) -> str:
        """Digest of all of it."""
        return digest(self.model_dump(mode="json"))

    @property
    def steps(self) -> Iterator[Step]:
        """All steps in their order."""
        for wave in self.waves:
            yield from wave.steps

    def place(self, address: str) -> Place:
        """The place with that address (KeyError if there is none)."""
        for place in self.places:
            if place.address == address:
                return place
        raise KeyError(address)

    def release(self, version: str) -> Release:
        """The one of the two with that version."""
        return self.new if version == self.new.version else self.old
