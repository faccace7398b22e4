"""``pachon store``: the control layer's own database: how it is, its backup, what is taken out of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, example, noun
from pachon.errors import ExitCode, PermanentError, UsageError

if TYPE_CHECKING:
    from pachon.store.copies import Backup
    from pachon.store.database import Store

app = noun("The store: what runs did, what stands, who may write.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="File of the backup.", show_default=False)]


@app.command(cls=Command, epilog=example("pachon store show"))
def show(ctx: typer.Context) -> Answer:
    """Show where the store is, what it holds, who writes to it, and whether it is whole.

    Exit status: 4 when its file is damaged.
    """
    from pachon.store.surveying import survey

    with _opened(Call.of(ctx)) as store:
        found = survey(store)
    head = {
        "store": found.where,
        "kind": found.kind,
        "migration": found.migration,
        "size": f"{found.size_bytes / 1024:.0f} KiB",
        "runs from": None if found.first_run_at is None else f"{found.first_run_at:%Y-%m-%d %H:%M:%S} UTC",
        "runs to": None if found.last_run_at is None else f"{found.last_run_at:%Y-%m-%d %H:%M:%S} UTC",
        "whole": not found.faults,
    }
    rows = [
        (
            each.site,
            each.holder,
            f"{each.since:%Y-%m-%d %H:%M:%S} UTC",
            "is dead" if each.dead else "writes",
            each.command,
        )
        for each in found.writers
    ]
    text: list[Part] = [
        facts(head),
        "",
        Table(("table", "rows"), [(name, number) for name, number in found.rows.items() if number], empty="empty"),
        "",
        Table(("site", "held by", "since", "state", "command"), rows, folds=("command",), empty="nobody writes to it"),
    ]
    text += [f"damaged: {fault}" for fault in found.faults]
    return Answer(value=found, text=text, exit_code=ExitCode.DEGRADED if found.faults else ExitCode.DONE)


@app.command(cls=Command, epilog=example("pachon store backup lab-store.jsonl"))
def backup(ctx: typer.Context, file: File) -> Answer:
    """Write the store to a new file, as it is at one moment; runs go on meanwhile."""
    from pachon.store.copies import back_up

    with _opened(Call.of(ctx)) as store:
        made = back_up(store, file)
    return Answer(value=made, text=[f"{made.file}: {_told(made)}"])


@app.command(cls=Command, epilog=example("pachon store restore lab-store.jsonl"))
def restore(
    ctx: typer.Context,
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="What the store holds now is to go.")] = False,
) -> Answer:
    """Fill the store from a backup, of this kind of store or of the other.

    Refused (5) while somebody writes to the store, when it holds something and --replace is not there, and for a file
    of another version. A store that is damaged is put aside first (--replace).
    """
    from pachon.store.copies import inspect_backup
    from pachon.store.copies import restore as fill
    from pachon.store.database import open_store, put_aside
    from pachon.store.troubles import DAMAGED

    call = Call.of(ctx)
    made = inspect_backup(file)  # before a store is made for it
    place = places.store(places.state(call.name_of_facility()))

    def restored() -> str:
        store = open_store(place)
        try:
            fill(store, file, replace=replace)
            return store.where
        finally:
            store.close()

    aside = None
    try:
        where = restored()
    except PermanentError as error:
        if not replace or error.cure != DAMAGED or (aside := put_aside(place)) is None:
            raise
        where = restored()
    said = f"{where}: {_told(made)}, as of {made.made_at:%Y-%m-%d %H:%M:%S} UTC"
    text = [said] if aside is None else [said, f"what was damaged is in {aside}"]
    return Answer(value=made.model_dump(mode="json") | {"put_aside": aside}, text=text)


@app.command(cls=Command, epilog=example("pachon store prune --keep 100"))
def prune(
    ctx: typer.Context,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=1, help="So many of each site's runs stay.", show_default=False)
    ],
) -> Answer:
    """Take old runs and their steps out of the journal; what later runs go by stays, however old."""
    from pachon.store.pruning import prune as take_out

    with _opened(Call.of(ctx)) as store:
        done = take_out(store, keep=keep)
    said = f"{done.runs} runs and {done.steps} steps taken out; {done.runs_left} runs and {done.steps_left} steps stay"
    return Answer(value=done, text=[said])


@contextmanager
def _opened(call: Call) -> "Iterator[Store]":
    from pachon.store.database import open_if_there

    name = call.name_of_facility()
    store = open_if_there(places.store(places.state(name)))
    if store is None:
        raise UsageError(
            f"facility {name!r} has no store yet", cure="'pachon up' makes one, 'pachon store restore' too"
        )
    try:
        yield store
    finally:
        store.close()


def _told(made: "Backup") -> str:
    return ", ".join(f"{number} {name}" for name, number in made.rows.items() if number) or "nothing"
