"""A plan as a value: what would be done, in which order, and what cannot be known yet. Pure: previews come in."""

from collections.abc import Iterable
from typing import Any, Literal

from pachon.model.base import Frozen

Verb = Literal["create", "update", "replace", "delete", "none", "unknown"]
VERBS: tuple[Verb, ...] = ("create", "update", "replace", "delete", "unknown", "none")


class Difference(Frozen):
    """One input before and after."""

    key: str
    before: Any
    after: Any


class Action(Frozen):
    """One planned change at an address."""

    site: str
    stack: str
    address: str
    verb: Verb
    reason: str
    """For people."""
    differences: tuple[Difference, ...] = ()


class Plan(Frozen):
    """All that ``up`` would do to a facility now."""

    facility: str
    counts: dict[Verb, int]
    """Actions of each verb; unknown ones are counted here and never shown as unchanged."""
    actions: tuple[Action, ...]
    """In the order in which stacks are brought about."""
    notes: tuple[str, ...]

    @property
    def pending(self) -> bool:
        """Whether anything is to be done, or may be."""
        return any(action.verb != "none" for action in self.actions)


def plan_of(facility: str, actions: Iterable[Action], notes: Iterable[str]) -> Plan:
    """The plan with its counts."""
    listed = tuple(actions)
    verbs = [action.verb for action in listed]
    counts: dict[Verb, int] = {verb: verbs.count(verb) for verb in VERBS if verb in verbs}
    return Plan(facility=facility, counts=counts, actions=listed, notes=tuple(notes))
