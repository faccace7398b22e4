"""What a person approved of a plan: which destructions, until when. And what is refused without it."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from pydantic import ValidationError

from pachon.errors import RefusedError, UsageError
from pachon.model.base import Frozen
from pachon.plan.document import SEAL_SHOWN, Plan

WILD = "*?["


class Approval(Frozen):
    """An approval of one plan; whoever may approve signs its bytes."""

    plan: str
    """Seal of the plan."""
    facility: str
    """Its name."""
    destroy: tuple[str, ...] = ()
    """Addresses that may be destroyed. A pattern such as ``base/host/base-batch*`` covers no protected thing."""
    until: datetime
    """It covers nothing after this moment."""
    by: str
    """Who says so."""


def read_approval(text: str, where: str) -> Approval:
    """The approval in a file.

    Raises:
        UsageError: that is none.
    """
    try:
        return Approval.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(f"{where} is no approval", cure="make one with 'pachon approve FILE'") from error


def refuse_invalid(approval: Approval, plan: Plan, now: datetime) -> None:
    """Nothing, if the approval is for this plan and not over.

    Raises:
        RefusedError: it is for another, or over.
    """
    if approval.plan != plan.seal:
        raise RefusedError(
            f"the approval is for plan {approval.plan[:SEAL_SHOWN]}, this is plan {plan.seal[:SEAL_SHOWN]}",
            cure="approve this plan: 'pachon approve FILE'",
        )
    if now > approval.until:
        raise RefusedError(
            f"the approval ended at {approval.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            cure="look at the plan again and approve it anew: 'pachon approve FILE'",
        )


def refuse_unapproved(plan: Plan, approved: Iterable[str], *, command: str) -> None:
    """Nothing, if all that would be destroyed was approved, and what is protected was named by itself.

    Raises:
        RefusedError: not all of it was; names each and how ``command`` approves it.
    """
    given = sorted(approved)
    destroyed = plan.destroys
    missing = {
        address: verb
        for address, verb in destroyed.items()
        if not any(address == pattern or fnmatchcase(address, pattern) for pattern in given)
    }
    protected = {each.address: each for each in plan.protections if each.address not in given}
    if not missing and not protected:
        return
    told = [f"{address} ({verb})" for address, verb in missing.items()]
    told += [f"{address} ({each.loses}: {each.why})" for address, each in protected.items() if address not in missing]
    names = sorted({*missing, *protected})
    raise RefusedError(
        f"this would destroy what stands: {', '.join(told)}",
        cure=f"approve each by name: {command} " + " ".join(f"--destroy {address}" for address in names),
    )


def losing_data(plan: Plan, approved: Collection[str]) -> frozenset[str]:
    """Volumes that may go with what they hold: it was seen when the plan was made, and each was named.

    One that was empty then is not among them; what has come into it since keeps it from being removed.
    """
    return frozenset(each.address for each in plan.protections if each.loses == "data" and each.address in approved)


def refuse_unknown(approved: Iterable[str], known: Collection[str]) -> None:
    """Nothing, if every approval is for something that is defined or was made.

    Raises:
        UsageError: one is not.
    """
    from difflib import get_close_matches

    for address in sorted(set(approved) - set(known)):
        if any(sign in address for sign in WILD) and any(fnmatchcase(each, address) for each in known):
            continue
        near = get_close_matches(address, list(known), n=3)
        raise UsageError(
            f"there is nothing to destroy at {address!r}",
            cure=f"did you mean {' or '.join(near)}?" if near else "an address is such as base/host/base-batch01",
        )
