"""What readings of a share's gates come to while it is watched. Pure.

Time counts only while every gate could be asked: a Prometheus that is away neither opens a gate nor shuts it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pachon.model.rollout import Gate, QueryGate

HEALTH_TRIPS_AFTER = 2
"""A contract that fails in so many looks one after another shuts its gate."""


@dataclass(frozen=True)
class Reading:
    """One gate as it was just read."""

    gate: str
    state: Literal["holds", "fails", "unknown"]
    said: str
    value: float | None = None


@dataclass(frozen=True)
class Watch:
    """A share as it has been watched so far."""

    seconds: float = 0
    """Counted."""
    looks: int = 0
    failing: Mapping[str, int] = field(default_factory=dict)
    """By gate: looks one after another in which it failed."""
    worst: Mapping[str, float] = field(default_factory=dict)
    """By query gate: the value that came nearest to the wrong side, or furthest over it."""
    last: tuple[Reading, ...] = ()

    @property
    def evidence(self) -> dict[str, Any]:
        """For the record."""
        gates = [{"gate": each.gate, "state": each.state, "said": each.said, "value": each.value} for each in self.last]
        return {
            "watched_seconds": round(self.seconds, 3),
            "looks": self.looks,
            "worst": dict(self.worst),
            "gates": gates,
        }


@dataclass(frozen=True)
class Verdict:
    """What is to be done about a watch."""

    watch: Watch
    tripped: str = ""
    """Why the release is bad; empty: it is not known to be."""
    waits: str = ""
    """What cannot be asked; empty: all could be."""


def judge(before: Watch, readings: Sequence[Reading], gates: Sequence[Gate], *, seconds: float) -> Verdict:
    """The watch with one more look at its gates, so long after the last one."""
    by_name = {gate.name: gate for gate in gates}
    failing = {each.gate: before.failing.get(each.gate, 0) + 1 for each in readings if each.state == "fails"}
    unknown = [each for each in readings if each.state == "unknown"]
    failing |= {each.gate: before.failing[each.gate] for each in unknown if each.gate in before.failing}
    counts = not unknown and not failing
    after = Watch(
        seconds=before.seconds + (seconds if counts else 0),
        looks=before.looks + 1,
        failing=failing,
        worst={**before.worst, **_worst(before.worst, readings, by_name)},
        last=tuple(readings),
    )
    for each in readings:
        gate = by_name.get(each.gate)
        limit = gate.trips_after if isinstance(gate, QueryGate) else HEALTH_TRIPS_AFTER
        if each.state == "fails" and failing[each.gate] >= limit:
            looks = f"in {limit} looks one after another" if limit > 1 else "in one look"
            return Verdict(after, tripped=f"{each.gate}: {each.said} ({looks})")
    return Verdict(after, waits="; ".join(f"{each.gate}: {each.said}" for each in unknown))


def _worst(before: Mapping[str, float], readings: Sequence[Reading], gates: Mapping[str, Gate]) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in readings:
        gate = gates.get(each.gate)
        if isinstance(gate, QueryGate) and each.value is not None:
            known = (before.get(each.gate, each.value), each.value)
            found[each.gate] = max(known) if gate.at_most is not None else min(known)
    return found
