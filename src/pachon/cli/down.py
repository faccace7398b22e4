"""``pachon down``: takes down what ``up`` made of a lab."""

import typer

from pachon import places
from pachon.cli.answer import Answer
from pachon.cli.frame import Call, LongCommand, example, verb

app = verb()


@app.command(cls=LongCommand, epilog=example("pachon down"))
def down(ctx: typer.Context) -> Answer:
    """Take down the lab of a facility: machines, networks, boot services and state; only caches stay.

    Refused for a facility on real racks. Nothing happens if nothing is up.
    """
    from pachon.apply import down as take_down

    call = Call.of(ctx)
    facility = call.facility()
    with call.progress() as progress:
        was_there = take_down(facility, state=places.state(facility.name), command="pachon down", progress=progress)
    said = f"facility {facility.name} is down" if was_there else f"facility {facility.name} was not up"
    return Answer(value={"facility": facility.name, "was_up": was_there}, text=[said])
