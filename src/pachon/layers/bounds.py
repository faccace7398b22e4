"""What an approved plan lets be done on hosts: where more is needed, the host is left alone and says so."""

from collections.abc import Callable, Mapping, Sequence

from pachon.layers.following import RoleWork, Trouble
from pachon.layers.role_trees import role_trees, trees_now
from pachon.model.facility import HostName

Pending = Mapping[HostName, Sequence[RoleWork]]
"""What is to be done on hosts."""
CURE = "look at what changed, and approve a new plan: 'pachon plan --out FILE'"


def outside(todo: Pending, bound: Mapping[str, str], address_of: Callable[[HostName], str]) -> dict[HostName, Trouble]:
    """Hosts that need more than is bound, and what."""
    now, known = trees_now(), role_trees()
    found = {}
    for name, works in todo.items():
        strange = [work.role for work in works if work.address not in bound]
        other = [
            work.role
            for work in works
            if work.role not in strange
            and (bound[work.address] != work.given or now.get(work.role) != known.get(work.role))
        ]
        told = [f"{', '.join(strange)} would be played, which the plan does not hold"] if strange else []
        if other:
            told.append(f"{', '.join(other)} would be played with another text or other arguments than were planned")
        if told:
            found[name] = Trouble(address=address_of(name), error="; ".join(told), cure=CURE)
    return found
