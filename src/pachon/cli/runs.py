"""``pachon runs``: what was done here, the newest first."""

from typing import Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Table
from pachon.cli.frame import Call, Command, complete, example, verb
from pachon.errors import UsageError

app = verb()


@app.command(cls=Command, epilog=example("pachon runs", "pachon runs base --limit 5", "pachon runs --json"))
def runs(
    ctx: typer.Context,
    site: Annotated[
        str, typer.Argument(metavar="[SITE]", help="Only this site.", autocompletion=complete("site"))
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many, at most.")] = 20,
) -> Answer:
    """List runs, the newest first: when, by whom, how long, how it ended, and how many things it changed.

    'pachon run show' takes the number before each, or what stands under RUN. A command that works at several
    sites is a run at each.
    """
    from pachon.store.database import open_if_there
    from pachon.store.runs import RunSummary, runs_of

    call = Call.of(ctx)
    if site and call.site_name and site != call.site_name:
        raise UsageError(f"two sites are named: {site} and {call.site_name}", cure="name one, or none")
    store = open_if_there(places.store(places.state(call.name_of_facility())))
    found: tuple[RunSummary, ...] = ()
    if store is not None:
        try:
            found = runs_of(store, site=site or call.site_name, limit=limit)
        finally:
            store.close()
    rows = [
        (
            run.number,
            run.site,
            f"{run.started_at:%Y-%m-%d %H:%M}",
            "?" if run.took_seconds is None else f"{run.took_seconds:.1f}",
            run.outcome,
            f"{run.changes}/{run.steps}",
            run.user,
            run.id[-8:],
            run.command,
        )
        for run in found
    ]
    headings = ("n", "site", "started (utc)", "took s", "outcome", "done", "user", "run", "command")
    return Answer(value=found, text=[Table(headings, rows, folds=("command",), empty="no run yet")])
