"""``pachon plan``: what ``up`` would change, as the engine itself previews it."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table
from pachon.cli.frame import Call, LongCommand, example, verb
from pachon.errors import ExitCode

if TYPE_CHECKING:
    from pachon.plan import Plan

app = verb()


@app.command(cls=LongCommand, epilog=example("pachon plan", "pachon plan --json", "pachon plan --no-look"))
def plan(
    ctx: typer.Context,
    look: Annotated[
        bool, typer.Option("--look/--no-look", help="Look at the world first, or trust what was last recorded.")
    ] = True,
) -> Answer:
    """Show what 'up' would change: the engine's own preview, after a look at the world.

    What cannot be known is counted as unknown, never as unchanged. Exit status: 0 nothing to change, 3 changes pending.
    """
    from pachon.planning import preview

    call = Call.of(ctx)
    facility = call.facility()
    with call.progress() as progress:
        made = asyncio.run(
            preview(
                facility,
                call.sites(facility),
                state=places.state(facility.name),
                cache=places.cache(),
                look=look,
                progress=progress,
            )
        )
    return _answer(made)


def _answer(made: "Plan") -> Answer:
    counts = ", ".join(f"{number} {word}" for word, number in made.counts.items()) or "nothing at all"
    rows = [(action.verb, action.address, action.reason) for action in made.actions if action.verb != "none"]
    text: list[Part] = [f"plan of {made.facility}: {counts}"]
    if rows:
        text += ["", Table(("verb", "address", "reason"), rows, folds=("reason",))]
    text += [f"note: {note}" for note in made.notes]
    return Answer(value=made, text=text, exit_code=ExitCode.PENDING if rows else ExitCode.DONE)
