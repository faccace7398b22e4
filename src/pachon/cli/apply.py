"""``pachon apply``: carries out a sealed plan, exactly it, if all that it relies on is still so."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer
from pachon.cli.approve import Destroy, Until
from pachon.cli.frame import Call, LongCommand, example, verb
from pachon.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from pachon.plan import Plan
    from pachon.plan.approval import Approval

app = verb()


@app.command(
    cls=LongCommand,
    epilog=example(
        "pachon plan --out plan.json && pachon apply plan.json",
        "pachon apply plan.json --destroy base/host/base-batch01",
    ),
)
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan, from 'pachon plan --out FILE'.")],
    *,
    destroy: Destroy = None,
    until: Until = "1h",
    signers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who may approve, as in ssh-keygen(1) (default: allowed_signers beside facility.yaml).",
            show_default=False,
        ),
    ] = None,
) -> Answer:
    """Carry out a sealed plan: what it holds, and nothing else.

    Refused, naming what has moved, when the definition, the program, the last run or anything else that the plan
    relies on is not what it was. May be killed at any moment and run again. Exit status: 0 done, 5 refused, 6 some of
    it failed, or needs more than the plan holds.
    """
    from pachon.apply import Order
    from pachon.apply import up as carry_out
    from pachon.cli.up import answer_of

    call = Call.of(ctx)
    plan = _plan(file)
    facility = call.facility()
    if plan.facility != facility.name:
        raise UsageError(
            f"{file} is a plan of {plan.facility!r}, this is {facility.name!r}", cure=f"--facility {plan.facility}"
        )
    approval = _approved(call, plan, file, destroy=destroy or [], until=until, signers=signers)
    order = Order(
        facility=facility,
        state=places.state(facility.name),
        cache=places.cache(),
        command=f"pachon apply {file}",
        sites=tuple(site for site in call.sites(facility) if site.name in plan.sites),
        destroy=frozenset() if approval is None else frozenset(approval.destroy),
        destroy_until=None if approval is None else approval.until,
        definition=call.folder,
        plan=plan,
        approving=f"pachon apply {file}",
    )
    with call.progress() as progress:
        report = carry_out(order, progress)
    return answer_of(report, None, order.state)


def _plan(file: Path) -> "Plan":
    from pachon.approving import plan_at

    return plan_at(file)


def _approved(
    call: Call, plan: "Plan", file: Path, *, destroy: list[str], until: str, signers: Path | None
) -> "Approval | None":
    """What may be destroyed and until when, by what is given now or was approved before; None if nobody was asked.

    Raises:
        RefusedError: there is no valid approval where there has to be one.
    """
    from pachon import approving
    from pachon.plan.approval import refuse_unapproved

    now = datetime.now(UTC)
    who = approving.signers_of(call.folder, signers)
    if destroy and who is not None:
        raise RefusedError(
            f"{plan.facility} asks for signed approvals ({who})",
            cure=f"have it approved: 'pachon approve {file} --destroy … --key KEY'",
        )
    if destroy:
        refuse_unapproved(plan, destroy, command=f"pachon apply {file}")
        approving.approve(plan, file, destroy=destroy, until=approving.moment(until, now), key=None)
    return approving.approval_of(plan, file, signers=who, now=now)
