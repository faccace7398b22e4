"""``pachon plan``: what would be changed, in which order and at which risk; sealed, so that it can be approved."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table
from pachon.cli.frame import Call, LongCommand, Sites, example, no_such, verb
from pachon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pachon.model.facility import Facility, Site
    from pachon.plan import Plan
    from pachon.progress import Progress

LINES_SHOWN = 30
"""Of a plan, so that it fits a screen; the document has all."""

app = verb()


@app.command(
    cls=LongCommand,
    epilog=example(
        "pachon plan",
        "pachon plan base --out plan.json",
        "pachon plan --markdown --exit-code",
        "pachon plan --graph plan.svg",
    ),
)
def plan(
    ctx: typer.Context,
    sites: Sites = None,
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the sealed plan there, for 'apply'.", show_default=False)
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a merge request.")] = False,
    graph: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw its waves there (SVG).", show_default=False)
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when changes are pending.")] = False,
    look: Annotated[
        bool, typer.Option("--look/--no-look", help="Look at the world first, or trust what was last recorded.")
    ] = True,
) -> Answer:
    """Show what would be changed, wave by wave: from receipts, a look at the world, and the engines' own previews.

    What cannot be known is counted as unknown, never as unchanged; what cannot be known yet is deferred, with its
    bounds. Exit status: 0, or with --exit-code 3 when changes are pending.
    """
    call = Call.of(ctx)
    facility = call.facility()
    with call.progress() as progress:
        made = asyncio.run(_made(call, facility, _sites(call, facility, sites or []), look=look, progress=progress))

    from pachon.plan.document import text_of_file
    from pachon.plan.graph import graph as drawn
    from pachon.plan.markdown import markdown as written

    for path, text in ((out, text_of_file), (graph, drawn)):
        if path is not None:
            _write(path, text(made))
    return Answer(
        value=made,
        text=[written(made).rstrip()] if markdown else text_of(made),
        exit_code=ExitCode.PENDING if exit_code and made.pending else ExitCode.DONE,
        talk=[f"carry it out with: pachon apply {out}"] if out is not None and made.pending else [],
    )


async def _made(
    call: Call, facility: "Facility", sites: "tuple[Site, ...]", *, look: bool, progress: "Progress"
) -> "Plan":
    """The plan; connections are begun before what it is made with is imported."""
    from pachon.opening import opening

    state = places.state(facility.name)
    async with opening(facility, sites if look else (), state=state) as opened:
        planning = await asyncio.to_thread(import_module, "pachon.planning")
        made: Plan = await planning.make(
            facility,
            sites,
            state=state,
            cache=places.cache(),
            look_first=look,
            progress=progress,
            notes=call.notes,
            opened=opened,
        )
        return made


def text_of(made: "Plan") -> list[Part]:
    """The plan for a screen: equal actions of a wave on one line."""
    from pachon.plan.folding import deferrals_of, header, lines_of

    lines = lines_of(made)
    rows: list[tuple[object, ...]] = [
        (line.wave, line.what, f"{line.site}: {line.where}", line.risk, line.reason) for line in lines[:LINES_SHOWN]
    ]
    told: list[Part] = [header(made), f"sealed {made.seal[:12]}"]
    if rows:
        told += ["", Table(("wave", "what", "where", "risk", "because"), rows, folds=("where", "because"))]
    if len(lines) > LINES_SHOWN:
        told.append(f"… and {len(lines) - LINES_SHOWN} more lines; --json has all")
    for each in deferrals_of(made):
        told.append(each.told)
    told += [f"engine started for {each.address}: {each.reason}" for each in made.engines]
    told += [f"risk {line.risk}: {line.what} at {line.site}: {line.why_risk}" for line in lines if line.risk == "high"]
    told += [f"needs --destroy {address} ({verb})" for address, verb in made.destroys.items()]
    told += [f"protected: {each.address}: loses {each.loses}: {each.why}" for each in made.protections]
    return told + [f"note: {note}" for note in made.notes]


def _sites(call: Call, facility: "Facility", names: list[str]) -> "tuple[Site, ...]":
    known = {site.name: site for site in call.sites(facility)}
    for name in names:
        if name not in known:
            raise no_such("site", name, list(known), facility=facility.name)
    return tuple(known[name] for name in dict.fromkeys(names)) or tuple(known.values())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", cure="give another file") from error
