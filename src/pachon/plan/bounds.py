"""Whether one plan stays inside another that was approved: what an approved plan allows when it is taken up again."""

from pachon.errors import RefusedError
from pachon.plan.document import SEAL_SHOWN, Action, Plan

SHOWN = 8


def outside(child: Plan, parent: Plan) -> list[str]:
    """Actions of the one that the other does not allow, each in words."""
    allowed: dict[str, list[Action]] = {}
    for action in parent.actions:
        allowed.setdefault(action.address, []).append(action)
    deferred = deferred_in(parent)
    told = [
        f"{action.address} ({action.verb})"
        for action in child.actions
        if action.verb != "unknown"
        and not (action.layer in ("hosts", "clusters") and deferred.get(action.address) == action.given)
        and not any(_covers(known, action) for known in allowed.get(action.address, ()))
    ]
    roles = roles_of(parent)
    told += [
        f"{address} (in an envelope)"
        for envelope in child.envelopes
        for address in envelope.addresses
        if roles.get(address) != envelope.given[address]
    ]
    known = {each.address for each in parent.protections}
    return told + [f"{each.address} (loses {each.loses})" for each in child.protections if each.address not in known]


def roles_of(plan: Plan) -> dict[str, str]:
    """What may be played under a plan: of each role, by address, the digest of what it is played with."""
    return deferred_in(plan) | {action.address: action.given for action in plan.actions if action.layer == "hosts"}


def deferred_in(plan: Plan) -> dict[str, str]:
    """The same, of what is in envelopes."""
    return {address: given for envelope in plan.envelopes for address, given in envelope.given.items()}


def objects_of(plan: Plan, site: str) -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Of a site's cluster under a plan: what may be applied, what may go, and where fields may be taken from others."""
    own = [action for action in plan.actions if action.layer == "clusters" and action.site == site]
    envelopes = [each for each in plan.envelopes if each.host == f"{site}/cluster"]
    given = {address: digest for each in envelopes for address, digest in each.given.items()}
    given |= {action.address: action.given for action in own if action.verb in ("create", "update")}
    removed = {action.address: action.given for action in own if action.verb == "delete"}
    taken = {each.address for each in plan.protections if each.loses == "fields of others"}
    return given, removed, frozenset(taken)


def removals_in(plan: Plan) -> dict[str, set[str]]:
    """What may be taken away under a plan for each role, by address: what it left, and strangers in its folders."""
    found: dict[str, set[str]] = {}
    for action in plan.actions:
        if action.layer == "hosts":
            found.setdefault(action.address, set()).update(_taken(action))
    return found


def _taken(action: Action) -> set[str]:
    return {each.key for each in action.differences}


def refuse_outside(child: Plan, parent: Plan, *, kept: str) -> None:
    """Nothing, if the child stays inside.

    Raises:
        RefusedError: it does not; ``kept`` is the file in which it waits for an approval of its own.
    """
    if told := outside(child, parent):
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        raise RefusedError(
            f"plan {parent.seal[:SEAL_SHOWN]} was begun, and what is left is not all inside it: "
            f"{', '.join(told[:SHOWN])}{more}",
            cure=f"look at the child plan and apply it: 'pachon apply {kept}'",
        )


def _covers(known: Action, action: Action) -> bool:
    """Whether an approved action allows this one: the same end, by no more destruction."""
    if action.layer == "hosts":
        same = known.given == action.given and (known.verb == "delete") == (action.verb == "delete")
        return same and _taken(action) <= _taken(known)
    if action.layer == "clusters":
        return known.given == action.given and (known.verb == "delete") == (action.verb == "delete")
    match action.verb:
        case "delete":
            return (known.verb == "delete" and known.after == action.after) or (
                known.verb == "replace" and known.after != action.after
            )
        case "replace":
            return known.verb == "replace" and known.after == action.after
        case _:
            return known.verb != "delete" and known.after == action.after
