"""The answer: what is hit, how, and through what; folded for a screen."""

from collections.abc import Sequence
from typing import Literal

from pachon.model.base import Frozen

Effect = Literal["gone", "down", "cut off", "unmanaged", "degraded"]
EFFECTS: tuple[Effect, ...] = ("gone", "down", "cut off", "unmanaged", "degraded")
"""Gone: it is not there. Down: it does nothing any more. Cut off: it stands and nothing reaches it. Unmanaged: it works
and cannot be configured or deployed. Degraded: it goes on with less."""
NAMED = 4


class Hit(Frozen):
    """One thing that is affected."""

    address: str
    effect: Effect
    why: str
    through: str
    """Address of what it is affected by; the one asked about where it belongs to that."""


class Blast(Frozen):
    """All that is affected if the thing at an address goes away."""

    facility: str
    address: str
    title: str
    """What that is, for people."""
    counts: dict[Effect, int]
    hits: tuple[Hit, ...]
    notes: tuple[str, ...]
    """What eases it."""


class Line(Frozen):
    """Hits of one kind with the same effect for the same reason."""

    effect: Effect
    kind: str
    names: tuple[str, ...]
    why: str

    @property
    def shown(self) -> str:
        """Names, the middle ones left out."""
        if len(self.names) <= NAMED:
            return ", ".join(self.names)
        return f"{self.names[0]} … {self.names[-1]} ({len(self.names)})"


def lines_of(hits: Sequence[Hit]) -> list[Line]:
    """The hits folded, the worst first."""
    folded: dict[tuple[Effect, str, str], list[str]] = {}
    for hit in hits:
        kind, _, name = _parts(hit.address)
        folded.setdefault((hit.effect, kind, hit.why), []).append(name)
    lines = [
        Line(effect=effect, kind=kind, names=tuple(names), why=why) for (effect, kind, why), names in folded.items()
    ]
    return sorted(lines, key=lambda line: EFFECTS.index(line.effect))


def _parts(address: str) -> tuple[str, str, str]:
    """Kind, site and name."""
    parts = address.split("/", 2)
    if len(parts) == 1:
        return "site", parts[0], parts[0]
    if len(parts) == 2:
        return parts[0], "", parts[1]
    return parts[1], parts[0], f"{parts[0]}: {parts[2]}" if parts[1] in ("service", "segment", "duty") else parts[2]
