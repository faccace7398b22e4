"""What an approved plan lets be done on hosts: where more is needed, the host is left alone and says so."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pachon.errors import PachonError
from pachon.layers.following import RoleWork, Trouble
from pachon.layers.role_trees import role_trees, trees_now
from pachon.model.facility import HostName
from pachon.model.manifest import LEFT, STRANGER

Pending = Mapping[HostName, Sequence[RoleWork]]
"""What is to be done on hosts."""
CURE = "look at what changed, and approve a new plan: 'pachon plan --out FILE'"


@dataclass(frozen=True)
class Bound:
    """What a plan holds of roles, by their addresses."""

    given: Mapping[str, str]
    """What each may be played with."""
    removals: Mapping[str, Collection[str]] = field(default_factory=dict)
    """What may be taken away for each."""
    deferred: Collection[str] = ()
    """In envelopes: on a host that is yet to be made anything may go that they did not put there."""


def removals_of(work: RoleWork) -> list[str]:
    """What is taken away before it is played, as plans have it."""
    return [f"{each.kind}:{each.name}" for each in work.drift if each.aspect in (LEFT, STRANGER)]


def outside(todo: Pending, bound: Bound, address_of: Callable[[HostName], str]) -> dict[HostName, Trouble]:
    """Hosts that need more than is bound, and what; all, where nobody can say what they would be played with."""
    known = role_trees()
    try:
        now = trees_now() if todo else known
    except PachonError as error:
        said = f"whether its roles are as they were planned is not known: {error.message}"
        return {name: Trouble(address=address_of(name), error=said, cure=error.cure) for name in todo}
    found = {}
    for name, works in todo.items():
        strange = [work.role for work in works if work.address not in bound.given]
        other = [
            work.role
            for work in works
            if work.role not in strange
            and (bound.given[work.address] != work.given or now.get(work.role) != known.get(work.role))
        ]
        going = [
            each
            for work in works
            if work.role not in strange and work.address not in bound.deferred
            for each in removals_of(work)
            if each not in bound.removals.get(work.address, ())
        ]
        told = [f"{', '.join(strange)} would be played, which the plan does not hold"] if strange else []
        if other:
            told.append(f"{', '.join(other)} would be played with another text or other arguments than were planned")
        if going:
            told.append(f"{', '.join(going)} would be taken away, which the plan does not hold")
        if told:
            found[name] = Trouble(address=address_of(name), error="; ".join(told), cure=CURE)
    return found
