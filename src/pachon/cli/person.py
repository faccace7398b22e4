"""``pachon person``: people of the definition, and certificates with which they log in."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Table, facts
from pachon.cli.frame import Call, Command, example, no_such, noun

app = noun("List people, and give them SSH certificates.")


@app.command("list", cls=Command, epilog=example("pachon person list", "pachon person list --json"))
def list_(ctx: typer.Context) -> Answer:
    """List the people of the definition: where they have accounts besides bastions, and what they may do there."""
    people = Call.of(ctx).facility().people
    rows = [(each.name, each.uid, each.title, each.enclaves, each.sudo) for each in people]
    headings = ("person", "uid", "title", "enclaves", "sudo")
    return Answer(value=people, text=[Table(headings, rows, folds=("title", "enclaves", "sudo"), empty="nobody")])


@app.command(cls=Command, epilog=example("pachon person certify itahue --key ~/.ssh/id_ed25519.pub"))
def certify(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Login name of a person.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The person's public key; the certificate goes beside it.")],
    hours: Annotated[int, typer.Option(metavar="HOURS", help="How long it is good, 24 at most.")] = 12,
) -> Answer:
    """Give a person a certificate for an ed25519 key, good for hours, signed by one of the sites (--site chooses)."""
    from infra.boot import people

    call = Call.of(ctx)
    facility = call.facility()
    known = {person.name: person for person in facility.people}
    if name not in known:
        raise no_such("person", name, list(known), facility=facility.name)
    state = places.state(facility.name)
    given = people.certify(
        state, facility, known[name], key=key, life=timedelta(hours=hours), sites=call.sites(facility)
    )
    value = given.model_dump(mode="json")
    doors = [door.name for site in facility.sites for door in people.bastions(site)]
    hints = [f"log in with: ssh -F {given.ssh_config} {door}" for door in doors] or [
        "there is no bastion to come in by"
    ]
    return Answer(value=value, text=[facts(value)], talk=hints)
