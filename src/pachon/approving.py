"""Approvals of plans as files: ``FILE.approval`` beside the plan, ``FILE.approval.sig`` where it is signed.

A facility asks for signatures when there is a file ``allowed_signers`` beside its ``facility.yaml``.
"""

import getpass
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pachon.drivers import ssh_signatures
from pachon.errors import RefusedError, UsageError
from pachon.plan.approval import Approval, read_approval, refuse_invalid
from pachon.plan.document import Plan, read_plan

SIGNERS = "allowed_signers"
SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def plan_at(path: Path) -> Plan:
    """The plan in a file, its seal unbroken.

    Raises:
        UsageError: there is none.
        RefusedError: it was changed since it was sealed.
    """
    try:
        return read_plan(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", cure="make a plan: 'pachon plan --out FILE'") from error


def signers_of(definition: Path | None, given: Path | None = None) -> Path | None:
    """File with the allowed signers, where approvals have to be signed.

    Raises:
        UsageError: the given one is not there.
    """
    if given is not None:
        if not given.is_file():
            raise UsageError(f"there is no file {given}", cure="give a file as in ssh-keygen(1), ALLOWED SIGNERS")
        return given
    own = None if definition is None else definition / SIGNERS
    return own if own is not None and own.is_file() else None


def moment(text: str, now: datetime) -> datetime:
    """The moment that a person means: ``30m``, ``8h``, ``2d`` from now, or a date and time of day (UTC unless said).

    Raises:
        UsageError: it means none, or one that is over.
    """
    if found := SPAN.fullmatch(text):
        return now + int(found[1]) * UNITS[found[2]]
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time", cure="give a span such as 8h, or 2026-12-24T18:00") from error
    given = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
    if given <= now:
        raise UsageError(f"{text} is over", cure="give a moment to come")
    return given.astimezone(UTC)


def approve(plan: Plan, path: Path, *, destroy: Iterable[str], until: datetime, key: Path | None) -> Approval:
    """The approval that now lies beside the plan, signed if there is a key."""
    approval = Approval(
        plan=plan.seal,
        facility=plan.facility,
        destroy=tuple(sorted(set(destroy))),
        until=until.replace(microsecond=0),
        by=getpass.getuser(),
    )
    file = file_of(path)
    file.write_text(approval.model_dump_json(indent=1) + "\n")
    file.with_name(file.name + ".sig").unlink(missing_ok=True)
    if key is not None:
        ssh_signatures.sign(file, key)
    return approval


def file_of(path: Path) -> Path:
    """File of a plan's approval."""
    return path.with_name(path.name + ".approval")


def approval_of(plan: Plan, path: Path, *, signers: Path | None, now: datetime) -> Approval | None:
    """What was approved of the plan; None if nobody has said anything and nobody has to.

    Raises:
        RefusedError: it is for another plan, over, or not signed by whom it has to be.
    """
    file = file_of(path)
    if not file.is_file():
        if signers is None:
            return None
        raise RefusedError(
            f"{plan.facility} asks for signed approvals ({signers}), and this plan has none",
            cure=f"have it approved: 'pachon approve {path} --key KEY'",
        )
    approval = read_approval(file.read_text(), str(file))
    if signers is not None:
        approval = approval.model_copy(update={"by": ssh_signatures.signer(file, signers)})
    refuse_invalid(approval, plan, now)
    return approval
