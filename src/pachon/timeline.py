"""A run as it went: the events that it wrote as they happened, beside the steps of its journal.

One command that works at several sites is one process with a run at each; its events are told apart by their address.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pachon.events import FILE, REPORT
from pachon.model.base import Frozen
from pachon.store.database import Store
from pachon.store.runs import RunSummary, Step, beside, find_run, step_before, steps_of

CAMPAIGN = "campaign"


class Happening(Frozen):
    """An event as it was written down."""

    at: datetime
    stage: str
    address: str
    state: Literal["started", "moving", "done", "unchanged", "failed"]
    message: str


class Stretch(Frozen):
    """All that happened to one address in one stage, from its first event to its last."""

    began_at: datetime
    after_seconds: float
    """Since the run began."""
    took_seconds: float
    stage: str
    address: str
    state: str
    """How it ended, or stands."""
    message: str
    """The last that was said of it."""
    events: int


class Failure(Frozen):
    """Something that failed, with what is to be done where that was said."""

    address: str
    message: str


class RunStory(Frozen):
    """A run as it went."""

    run: RunSummary
    beside: tuple[str, ...]
    """Other sites of the same command, each with a run of its own."""
    timeline: tuple[Stretch, ...]
    steps: tuple[Step, ...]
    failures: tuple[Failure, ...]
    logs: tuple[str, ...]
    """Files with all that engines said in this run."""


class Change(Frozen):
    """An input that a step was given and that differed from what its address was made from before."""

    name: str
    before: Any
    after: Any


class StepStory(Frozen):
    """One address in a run: its steps with what they changed, and every event about it."""

    run: str
    address: str
    steps: tuple[Step, ...]
    changes: tuple[Change, ...]
    """Of the last step, against what stood there before."""
    events: tuple[Happening, ...]
    logs: tuple[str, ...]


def story_of(store: Store, state: Path, which: str) -> RunStory:
    """The run of that number or name.

    Raises:
        UsageError: there is no such run.
    """
    run = find_run(store, which)
    others = beside(store, run)
    happenings = tuple(happenings_of(state, run, others))
    steps = steps_of(store, run.id)
    return RunStory(
        run=run,
        beside=others,
        timeline=fold(happenings, run.started_at),
        steps=steps,
        failures=failures_of(steps, happenings),
        logs=_logs(state, run),
    )


def step_story_of(store: Store, state: Path, which: str, address: str) -> StepStory | None:
    """What the run did at that address; None if nothing is recorded of it there.

    Raises:
        UsageError: there is no such run.
    """
    run = find_run(store, which)
    steps = steps_of(store, run.id, address=address)
    events = tuple(each for each in happenings_of(state, run, beside(store, run)) if each.address == address)
    if not steps and not events:
        return None
    before = step_before(store, steps[-1]) if steps else None
    changes = differences(before.inputs if before else {}, steps[-1].inputs) if steps else ()
    logs = _logs(state, run)
    return StepStory(run=run.id, address=address, steps=steps, changes=changes, events=events, logs=logs)


def happenings_of(state: Path, run: RunSummary, others: Sequence[str] = ()) -> Iterator[Happening]:
    """Events of the run in order; of other sites of the same command only what concerns none of them alone."""
    for line in _lines(state / FILE):
        stage, address = str(line.get("stage")), str(line.get("address") or "")
        ours = line["process"] == run.process if line.get("process") else line.get("run") == run.id
        of_campaign = run.site.startswith(f"{CAMPAIGN}/")
        elsewhere = address.partition("/")[0] in others if stage != CAMPAIGN else False
        if not ours or elsewhere or (others and of_campaign != (stage == CAMPAIGN)):
            continue
        try:
            yield Happening.model_validate({name: line.get(name) for name in Happening.model_fields})
        except ValidationError:
            continue


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Lines of the file that was put aside and of the one that is written; one that was cut short is left out."""
    for file in (path.with_suffix(f"{path.suffix}.1"), path):
        if not file.exists():
            continue
        with file.open(encoding="utf-8", errors="replace") as stream:
            for text in stream:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict):
                    yield line


def fold(happenings: Iterable[Happening], started_at: datetime) -> tuple[Stretch, ...]:
    """What happened, by stage and address, in the order in which it began."""
    grouped: dict[tuple[str, str], list[Happening]] = {}
    for each in happenings:
        if each.stage == REPORT:
            continue
        grouped.setdefault((each.stage, each.address), []).append(each)
    return tuple(_stretch(group, started_at) for group in grouped.values())


def _stretch(group: Sequence[Happening], started_at: datetime) -> Stretch:
    first, last = group[0], group[-1]
    second = timedelta(seconds=1)
    return Stretch(
        began_at=first.at,
        after_seconds=round((first.at - started_at) / second, 1),
        took_seconds=round((last.at - first.at) / second, 1),
        stage=first.stage,
        address=first.address,
        state=last.state,
        message=last.message,
        events=len(group),
    )


def failures_of(steps: Iterable[Step], happenings: Iterable[Happening]) -> tuple[Failure, ...]:
    """What failed: as the run reported it, else as the journal has it, else as the last event about it says."""
    last = {(each.stage, each.address): each for each in happenings}
    found = {address or "the run": each.message for (stage, address), each in last.items() if stage == REPORT}
    for step in steps:
        if step.outcome == "failed":
            found.setdefault(step.address, step.message)
    for (stage, address), each in last.items():
        if each.state == "failed" and stage != REPORT:
            found.setdefault(address or stage, each.message)
    return tuple(Failure(address=address, message=message) for address, message in found.items())


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> tuple[Change, ...]:
    """Values that differ, by their dotted name; what is missing on one side is None there."""
    found: list[Change] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(Change(name=f"{prefix}{name}", before=old, after=new))
    return tuple(found)


def _logs(state: Path, run: RunSummary) -> tuple[str, ...]:
    return tuple(str(path) for path in sorted(state.glob(f"pulumi/runs/*-{run.site}/logs/{run.id}.log")))
