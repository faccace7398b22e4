"""``pachon approve``: says of a plan in a file that it may be carried out, and what it may destroy."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pachon.cli.answer import Answer, facts
from pachon.cli.frame import Command, example, verb

app = verb()

Destroy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        help="Approve that this is deleted or made anew; once for each address. A pattern covers nothing protected.",
        show_default=False,
    ),
]
Until = Annotated[str, typer.Option(metavar="TIME", help="How long: 30m, 8h, 2d, or a date and time of day (UTC).")]


@app.command(
    cls=Command,
    epilog=example(
        "pachon approve plan.json --until 8h",
        "pachon approve plan.json --destroy base/host/base-batch01 --key ~/.ssh/id_ed25519",
    ),
)
def approve(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan, from 'pachon plan --out FILE'.")],
    *,
    destroy: Destroy = None,
    until: Until = "1d",
    key: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign it with this SSH key.", show_default=False)
    ] = None,
) -> Answer:
    """Approve a plan: writes FILE.approval beside it, and FILE.approval.sig with a key.

    The approval covers this plan only, destroys nothing that it does not list, and ends by itself.
    """
    from pachon import approving
    from pachon.plan.approval import refuse_unapproved

    plan = approving.plan_at(file)
    if destroy:
        refuse_unapproved(plan, destroy, command=f"pachon approve {file}")
    moment = approving.moment(until, datetime.now(UTC))
    given = approving.approve(plan, file, destroy=destroy or (), until=moment, key=key)
    told = {
        "plan": f"{plan.facility} {plan.seal[:12]}",
        "destroys": given.destroy,
        "until": f"{given.until:%Y-%m-%d %H:%M:%S} UTC",
        "by": given.by,
        "signed": key is not None,
        "file": approving.file_of(file),
    }
    value = given.model_dump(mode="json") | {"file": str(approving.file_of(file)), "signed": key is not None}
    return Answer(value=value, text=[facts(told)], talk=[f"carry it out with: pachon apply {file}"])
