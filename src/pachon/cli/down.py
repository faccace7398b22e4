"""``pachon down``: takes down what ``up`` made of a lab."""

import typer

from pachon import places
from pachon.cli.answer import Answer
from pachon.cli.frame import Call, LongCommand, example, verb
from pachon.errors import UsageError

COMMAND = "pachon down"

app = verb()


@app.command(cls=LongCommand, epilog=example("pachon down"))
def down(ctx: typer.Context) -> Answer:
    """Take down the lab of a facility: machines, networks, boot services and state; only caches stay.

    Refused for a facility on real racks. Nothing happens if nothing is up. A lab that stands is taken down by its
    name where its definition has a mistake or is gone.
    """
    from pachon import known, teardown

    call = Call.of(ctx)
    try:
        facility = call.facility()
    except UsageError as error:
        name = known.name_of(call.wanted)
        if name is None:
            raise
        with call.progress() as progress:
            teardown.down_by_name(name, state=places.state(name), command=COMMAND, progress=progress)
        said = f"facility {name} is down"
        return Answer(value={"facility": name, "was_up": True}, text=[said], talk=[f"by its name: {error.message}"])
    name = facility.name
    with call.progress() as progress:
        was_there = teardown.down(facility, state=places.state(name), command=COMMAND, progress=progress)
    said = f"facility {name} is down" if was_there else f"facility {name} was not up"
    return Answer(value={"facility": name, "was_up": was_there}, text=[said])
