"""``pachon run``: one run as it went."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, example, noun
from pachon.errors import UsageError

if TYPE_CHECKING:
    from pachon.timeline import RunStory, StepStory

app = noun("Look at one run: what happened when, what changed, what failed.")


@app.command(cls=Command, epilog=example("pachon run show 1", "pachon run show 1 --step base/host/base-batch01"))
def show(
    ctx: typer.Context,
    which: Annotated[
        str, typer.Argument(metavar="N|ID", help="1 for the newest, or a run's name, or four letters of its end.")
    ],
    step: Annotated[
        str, typer.Option("--step", metavar="ADDRESS", help="All that is recorded of one address.", show_default=False)
    ] = "",
) -> Answer:
    """Show a run: its timeline, the steps of its journal, what failed and what to do about it.

    With --step: what one address was made from, what that changed, and every event about it.
    """
    from pachon.store.database import open_if_there
    from pachon.timeline import step_story_of, story_of

    name = Call.of(ctx).name_of_facility()
    state = places.state(name)
    store = open_if_there(places.store(state))
    if store is None:
        raise UsageError(f"there is no run {which!r}: facility {name!r} has no store yet", cure="'pachon up' makes it")
    try:
        if not step:
            return _answer(story_of(store, state, which))
        found = step_story_of(store, state, which, step)
        if found is None:
            known = sorted({each.address for each in story_of(store, state, which).timeline if each.address})
            raise no_step(which, step, known)
        return _step_answer(found)
    finally:
        store.close()


def no_step(which: str, address: str, known: list[str]) -> UsageError:
    """The complaint about an address of which the run has no record."""
    from difflib import get_close_matches

    near = get_close_matches(address, known, n=3)
    cure = f"did you mean {' or '.join(near)}?" if near else f"'pachon run show {which}' lists all"
    return UsageError(f"nothing is recorded of {address!r} in run {which}", cure=cure)


def _answer(story: "RunStory") -> Answer:
    run = story.run
    by = f"{run.user}@{run.controller}" if run.controller else run.user
    head = {
        "run": run.id,
        "site": run.site,
        "with": story.beside,
        "command": run.command,
        "by": by,
        "started": f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "took": None if run.took_seconds is None else f"{run.took_seconds:.1f} s",
        "outcome": run.outcome,
        "steps": f"{run.changes} done, {run.failed} failed, {run.unfinished} begun and never heard of again",
    }
    moments = [
        (f"+{each.after_seconds:.1f}", f"{each.took_seconds:.1f}", each.stage, each.address, each.state, each.message)
        for each in story.timeline
    ]
    steps = [(each.verb, each.address, each.outcome, each.message) for each in story.steps]
    text: list[Part] = [
        facts(head),
        "",
        Table(
            ("after s", "took s", "stage", "address", "state", "last said"),
            moments,
            folds=("address", "last said"),
            empty="no event of it is left",
        ),
        "",
        Table(("verb", "address", "outcome", "why"), steps, folds=("address", "why"), empty="no step in the journal"),
    ]
    text += [f"failed: {each.address}: {each.message}" for each in story.failures]
    text += [f"log: {path}" for path in story.logs]
    return Answer(value=story, text=text)


def _step_answer(story: "StepStory") -> Answer:
    text: list[Part] = []
    for step in story.steps:
        text += [
            facts(
                {
                    "address": step.address,
                    "kind": step.kind,
                    "verb": step.verb,
                    "generation": step.generation,
                    "begun": f"{step.started_at:%Y-%m-%d %H:%M:%S.%f} UTC",
                    "ended": None if step.ended_at is None else f"{step.ended_at:%Y-%m-%d %H:%M:%S.%f} UTC",
                    "outcome": step.outcome,
                    "why": step.message,
                }
            ),
            "",
        ]
    changes = [(each.name, _short(each.before), _short(each.after)) for each in story.changes]
    events = [(f"{each.at:%H:%M:%S.%f}"[:-3], each.stage, each.state, each.message) for each in story.events]
    text += [
        Table(("input", "before", "after"), changes, folds=("before", "after"), empty="no input differs from before"),
        "",
        Table(("at (utc)", "stage", "state", "said"), events, folds=("said",), empty="no event about it is left"),
    ]
    text += [f"log: {path}" for path in story.logs]
    return Answer(value=story, text=text)


def _short(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
