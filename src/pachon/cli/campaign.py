"""``pachon campaign``: campaigns of batch production, from their file to products and report."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, LongCommand, example, noun
from pachon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pachon.batch.campaign import Campaign
    from pachon.batch.report import CampaignReport, IncidentReport
    from pachon.batch.watching import CampaignSummary
    from pachon.model.facility import Facility

app = noun("Carry out campaigns of batch production, and see how they stand.")

File = Annotated[str, typer.Argument(metavar="FILE", help="File of a campaign, or the name of one of the facility's.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a campaign that was run.")]
Patience = Annotated[
    int, typer.Option(metavar="MINUTES", min=0, help="How long to wait for a site that is unknown or stands still.")
]
SHOWN_STATISTICS = ("mean", "median", "deviation", "frames", "clipped")
"""What the end of a campaign shows of each frame; the report has all."""
SHOWN_INCIDENTS = 8
EXIT_CODES = {"done": ExitCode.DONE, "partial": ExitCode.PARTIAL, "unfinished": ExitCode.PARTIAL}


@app.command(cls=Command, epilog=example("pachon campaign check first-calibration"))
def check(ctx: typer.Context, file: File) -> Answer:
    """Check a campaign and its pipeline, and tell what it comes to; nothing is run."""
    campaign, _ = _read(Call.of(ctx), file)
    steps = [
        (
            step,
            ", ".join(task.name for task in campaign.pipeline.tasks if task.step == step),
            sum(quantum.step == step for quantum in campaign.quanta),
        )
        for step in campaign.pipeline.steps
    ]
    value = campaign.model_dump(mode="json", exclude={"quanta"}) | {"quanta": len(campaign.quanta)}
    text: list[Part] = [
        facts(
            {
                "campaign": campaign.name,
                "pipeline": f"{campaign.pipeline.name} {campaign.pipeline.version}",
                "quanta": len(campaign.quanta),
                "sites": [f"{share.site}: detectors {_numbers(share.detectors)}" for share in campaign.coverage.shares],
            }
        ),
        "",
        Table(("step", "tasks", "quanta"), steps, folds=("tasks",)),
    ]
    return Answer(value=value, text=text)


@app.command(cls=LongCommand, epilog=example("pachon campaign run first-calibration"))
def run(
    ctx: typer.Context,
    file: File,
    patience: Patience = 10,
    again: Annotated[bool, typer.Option("--again", help="Try what was given up once more.")] = False,
) -> Answer:
    """Carry a campaign out at all of its sites: what is done stays done, what was begun is taken up.

    Exit status: 0 all products are there, 6 some were given up or a site could not be worked at to the end.
    """
    call = Call.of(ctx)
    campaign, facility = _read(call, file)
    return _carry_out(call, campaign, facility, timedelta(minutes=patience), again=again)


@app.command(cls=LongCommand, epilog=example("pachon campaign resume first-calibration"))
def resume(ctx: typer.Context, name: Name, patience: Patience = 10) -> Answer:
    """Go on with a campaign as it was last run, whatever its file says now; what was given up is tried again."""
    from pachon.batch.running import kept_campaign
    from pachon.store.database import open_store

    call = Call.of(ctx)
    facility = call.facility()
    store = open_store(places.store(places.state(facility.name)))
    try:
        campaign = kept_campaign(store, name)
    finally:
        store.close()
    return _carry_out(call, campaign, facility, timedelta(minutes=patience), again=True)


@app.command("list", cls=Command, epilog=example("pachon campaign list"))
def list_(ctx: typer.Context) -> Answer:
    """List the facility's campaigns: those that were run, and files of it that were not."""
    from pachon.batch import reading
    from pachon.definition import find

    call = Call.of(ctx)
    found = _summaries(call.facility())
    waiting = [path.stem for path in reading.files(find(call.wanted)) if path.stem not in {each.name for each in found}]
    rows = [(each.name, each.state, f"{each.done}/{each.quanta}", _moment(each), each.title) for each in found]
    rows += [(name, "never run", "", "", "") for name in waiting]
    value = {"campaigns": found, "never_run": waiting}
    return Answer(value=value, text=[Table(("campaign", "state", "done", "begun", "title"), rows, folds=("title",))])


@app.command(cls=Command, epilog=example("pachon campaign status", "pachon campaign status first-calibration"))
def status(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Name of a campaign (default: the latest).")] = "",
) -> Answer:
    """Show how a campaign stands at each site, from our own record: also while a site is cut off.

    Exit status: 4 when a site is unknown or the campaign was left before its end.
    """
    found = _summaries(Call.of(ctx).facility())
    chosen = [each for each in found if each.name == name] if name else list(found[:1])
    if not chosen:
        known = ", ".join(each.name for each in found)
        what = f"no campaign {name!r} was ever run here" if name else "no campaign was ever run here"
        raise UsageError(what, cure=f"there is {known}" if known else "'pachon campaign run FILE' runs one")
    (summary,) = chosen
    head = {
        "campaign": summary.name,
        "state": summary.state,
        "carried out by": summary.carried_out_by,
        "done": f"{summary.done} of {summary.quanta} quanta",
        "incidents": summary.incidents,
        "report": summary.report,
        "pictures": summary.pictures,
    }
    rows = [
        (
            site.site,
            site.condition,
            "" if site.since is None else f"{site.since:%H:%M:%S} UTC",
            [f"{number} {state}" for state, number in site.counts.items()],
            site.reason,
        )
        for site in summary.sites
    ]
    headings = ("site", "condition", "since", "quanta", "reason")
    troubled = summary.state in ("interrupted", "unfinished", "partial")
    troubled = troubled or any(site.condition in ("unknown", "stopped") for site in summary.sites)
    return Answer(
        value=summary,
        text=[facts(head), "", Table(headings, rows, folds=("quanta", "reason"))],
        exit_code=ExitCode.DEGRADED if troubled else ExitCode.DONE,
    )


@app.command(cls=Command, epilog=example("pachon campaign show first-calibration"))
def show(ctx: typer.Context, name: Name) -> Answer:
    """Show every quantum of a campaign: its state, where it was done, how often it was tried."""
    made = _report(Call.of(ctx).facility(), name)
    rows = [(each.quantum, each.site, each.state, each.host, each.attempts, each.key) for each in made.provenance]
    headings = ("quantum", "site", "state", "host", "attempts", "key")
    return Answer(value=made.provenance, text=[Table(headings, rows, folds=("quantum", "key"))])


@app.command(cls=Command, epilog=example("pachon campaign report first-calibration"))
def report(ctx: typer.Context, name: Name) -> Answer:
    """Print a campaign's report with the provenance of every product."""
    from pachon.batch.markdown import markdown

    made = _report(Call.of(ctx).facility(), name)
    return Answer(value=made, text=[markdown(made).rstrip("\n")])


def _read(call: Call, file: str) -> "tuple[Campaign, Facility]":
    from pachon.batch import reading
    from pachon.definition import find

    facility = call.facility()
    return reading.load(reading.find(find(call.wanted), file), facility), facility


def _carry_out(call: Call, campaign: "Campaign", facility: "Facility", patience: timedelta, *, again: bool) -> Answer:
    from pachon.batch import running
    from pachon.events import Recorder
    from pachon.store.lease import new_run_id

    order = running.Order(
        campaign=campaign,
        facility=facility,
        state=places.state(facility.name),
        command=f"pachon campaign run {campaign.name}",
        patience=patience,
        again=again,
    )
    with call.progress() as progress:
        recorder = Recorder(order.state / "events.jsonl", run=new_run_id(), shown=progress)
        try:
            made = asyncio.run(running.run(order, recorder))
        finally:
            recorder.close()
    return Answer(
        value=made,
        text=outcome(made),
        exit_code=EXIT_CODES.get(made.state, ExitCode.FAILED),
        talk=[] if made.complete else [f"go on with: pachon campaign resume {campaign.name}"],
    )


def outcome(made: "CampaignReport") -> list[Part]:
    """The end of a campaign in short: also what ``pachon up`` shows."""
    rows = [
        (each.kind, each.detector, each.site, *(each.values.get(name) for name in SHOWN_STATISTICS))
        for each in made.statistics
    ]
    took = "" if made.seconds is None else f" in {made.seconds:g} s"
    text: list[Part] = [
        f"campaign {made.name}: {made.state}{took}",
        Table(("frame", "detector", "site", *SHOWN_STATISTICS), rows, empty="no combined frame"),
    ]
    text += [
        f"{site.site}: {site.condition} since {site.since:%Y-%m-%d %H:%M:%S} UTC: {site.reason}"
        for site in made.sites
        if site.condition != "done" and site.since is not None
    ]
    text += [
        f"{each.at:%H:%M:%S} UTC {each.site}: {each.kind} {each.host}".rstrip() + f": {each.message} ({_quanta(each)})"
        for each in made.incidents[-SHOWN_INCIDENTS:]
    ]
    if len(made.incidents) > SHOWN_INCIDENTS:
        text.append(f"… and {len(made.incidents) - SHOWN_INCIDENTS} earlier ones, in the report")
    path = Path(made.folder)
    return [*text, *(f"picture: {picture}" for picture in made.pictures), f"report: {path / 'report.md'}"]


def _quanta(incident: "IncidentReport") -> str:
    done = f", done by {', '.join(incident.done_by)}" if incident.done_by else ""
    return f"{len(incident.quanta)} quanta{done}"


def _report(facility: "Facility", name: str) -> "CampaignReport":
    from pachon.batch.running import kept_campaign, report_of
    from pachon.store.database import open_store

    state = places.state(facility.name)
    store = open_store(places.store(state))
    try:
        return report_of(store, kept_campaign(store, name), state)
    finally:
        store.close()


def _summaries(facility: "Facility") -> "tuple[CampaignSummary, ...]":
    from pachon.batch.watching import summaries

    return summaries(places.state(facility.name))


def _moment(summary: "CampaignSummary") -> str:
    return f"{summary.started_at:%Y-%m-%d %H:%M:%S}"


def _numbers(numbers: tuple[int, ...]) -> str:
    from pachon.batch.markdown import ranges

    return ranges(numbers)
