"""``pachon blast``: what is affected if something goes away."""

from typing import Annotated

import typer

from pachon.cli.answer import Answer, Part, Table
from pachon.cli.frame import Call, Command, example, verb

app = verb()


@app.command(
    cls=Command,
    epilog=example(
        "pachon blast base/rack/b01",
        "pachon blast base-sw01",
        "pachon blast base/service/batch-computing",
        "pachon blast link/base-archive --json",
    ),
)
def blast(
    ctx: typer.Context,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="SITE/rack/NAME, SITE/switch/NAME, SITE/machine/SERIAL, SITE/host/NAME, SITE/volume/NAME, "
            "SITE/service/NAME, service/NAME, link/NAME or SITE; hosts and machines also by their name alone.",
        ),
    ],
) -> Answer:
    """Say what is affected if the rack, switch, host, service or other thing at an address goes away.

    Followed from the definition and the catalogue alone: cables, placements, flows, pools, volumes and needs.
    """
    from pachon.blast import blast as spread
    from pachon.blast import lines_of
    from pachon.definition.catalogue import read
    from pachon.definition.loading import catalogue_of

    call = Call.of(ctx)
    facility = call.facility()
    services = {} if call.folder is None else read(catalogue_of(call.folder)).services
    found = spread(facility, services, address)
    counts = ", ".join(f"{number} {effect}" for effect, number in found.counts.items()) or "nothing else"
    rows = [(line.effect, line.kind, line.shown, line.why) for line in lines_of(found.hits)]
    text: list[Part] = [f"without {found.title}: {counts}"]
    if rows:
        text += ["", Table(("effect", "kind", "what", "why"), rows, folds=("what", "why"))]
    return Answer(value=found, text=[*text, *(f"note: {note}" for note in found.notes)])
