"""What has moved between the making of a plan and now: the reasons for which it is refused."""

from collections.abc import Iterable, Mapping

from pachon.errors import RefusedError
from pachon.plan.bounds import roles_of
from pachon.plan.document import Fact, Plan
from pachon.plan.making import Basis

SHOWN = 8
KINDS = {
    "journal": "what was made there",
    "roles": "the receipts of its roles",
    "secret": "the secret",
    "seen": "what is seen there",
    "stack": "the receipt of the stack",
}


def moved(
    plan: Plan,
    basis: Basis,
    parents: Mapping[str, str],
    facts: Iterable[Fact],
    *,
    given: Mapping[str, str] | None = None,
) -> list[str]:
    """What the plan relies on and is not so any more, each in words.

    ``parents`` are the newest runs, by site, of the sites that count. A fact that is told by one side only counts too,
    but for a secret that was made since. ``given``: what roles would be played with now, by address.
    """
    now = {(fact.address, fact.kind): fact.value for fact in facts}
    then = {(fact.address, fact.kind): fact.value for fact in plan.facts if fact.address.split("/")[0] in parents}
    told = [f"the definition ({part})" for part in _differing(plan.definition, basis.definition)]
    told += [f"the program ({part})" for part in _differing(plan.code, basis.code)]
    told += [
        f"the last run at {site} (then {plan.parents.get(site) or 'none'}, now {run or 'none'})"
        for site, run in sorted(parents.items())
        if plan.parents.get(site, "") != run
    ]
    looked = {(address.split("/")[0]) for address, kind in then if kind == "seen"}
    for address, kind in sorted(then.keys() | now.keys()):
        if kind == "seen" and address.split("/")[0] not in looked:
            continue  # the plan was made without a look there, so it relies on none
        before, after = then.get((address, kind)), now.get((address, kind))
        if kind == "secret" and before is None:
            continue
        if before != after:
            shown = f" (then {before or 'nothing'}, now {after or 'nothing'})" if kind == "seen" else ""
            told.append(f"{address}: {KINDS[kind]}{shown}")
    planned = roles_of(plan)
    told += [
        f"{address}: its text or its arguments"
        for address, now_given in sorted((given or {}).items())
        if planned.get(address, now_given) != now_given
    ]
    return told


def refuse_moved(what: list[str]) -> None:
    """Nothing, if nothing has moved.

    Raises:
        RefusedError: something has; names it.
    """
    if not what:
        return
    more = f" and {len(what) - SHOWN} more" if len(what) > SHOWN else ""
    raise RefusedError(
        f"the plan no longer holds; moved since it was made: {'; '.join(what[:SHOWN])}{more}",
        cure="make a new plan: 'pachon plan --out FILE'",
    )


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(part for part in then.keys() | now.keys() if then.get(part) != now.get(part))
