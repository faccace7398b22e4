"""Runs as they went: which there were, what became of each, and the steps that its journal holds."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Row, func, select
from sqlalchemy.engine import Connection

from pachon.errors import UsageError
from pachon.model.base import Frozen
from pachon.store.database import Store, aware
from pachon.store.lease import held_in
from pachon.store.tables import runs, steps

RunOutcome = Literal["done", "failed", "partial", "killed", "running", "dead", "unknown"]


NEWEST_FIRST = (runs.c.started_at.desc(), runs.c.fencing_token.desc(), runs.c.id.desc())


class RunSummary(Frozen):
    """A run, in short."""

    id: str
    number: int
    """Among all runs of the store; the newest is 1."""
    facility: str
    site: str
    """What it held the lease of: a site, ``campaign/<name>`` or ``rollout/<service>``."""
    command: str
    user: str
    controller: str
    """Machine that it ran on; empty for runs of before this was recorded."""
    process: str
    """Tells the process from all others; runs of one command share it."""
    started_at: datetime
    ended_at: datetime | None
    took_seconds: float | None
    """Until its end, or until now; None where a clock that was set back makes it unknowable."""
    outcome: RunOutcome
    """``running``: its process is seen to run; ``dead``: it is proven gone, and the next run takes over."""
    steps: int
    changes: int
    """Steps that ended well: things that were made, changed or removed."""
    failed: int
    unfinished: int
    """Steps that were begun and never heard of again."""


class Step(Frozen):
    """One thing that a run did to the world through the engine of hardware."""

    number: int
    address: str
    kind: str
    verb: str
    generation: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Literal["done", "failed", "begun"]
    message: str
    """Why it failed, and what to do next."""
    inputs: dict[str, Any]


def runs_of(store: Store, *, site: str = "", limit: int = 0) -> tuple[RunSummary, ...]:
    """Runs, the newest first: of one site or of all; no more than ``limit``, if it is not 0."""
    query = select(runs).order_by(*NEWEST_FIRST)
    if site:  # one site's tokens only grow, whatever its clock does
        query = select(runs).where(runs.c.site == site).order_by(runs.c.fencing_token.desc())
    with store.snapshot() as connection:
        rows = connection.execute(query.limit(limit) if limit else query).all()
        return _summaries(store, connection, rows)


def find_run(store: Store, which: str) -> RunSummary:
    """The run with that number (1: the newest), name, or beginning or end of a name.

    Raises:
        UsageError: there is none, or more than one.
    """
    with store.snapshot() as connection:
        total = int(connection.execute(select(func.count()).select_from(runs)).scalar_one())
        number = int(which) if which.isdecimal() and len(which) < 8 else 0
        if 0 < number <= total:
            query = select(runs).order_by(*NEWEST_FIRST).offset(number - 1).limit(1)
            rows: Sequence[Row[Any]] = connection.execute(query).all()
        else:
            rows = [row for row in connection.execute(select(runs)) if which and _is_named(row.id, which)]
        found = _summaries(store, connection, rows[:4])
    if len(found) == 1:
        return found[0]
    if not found:
        cure = "'pachon runs' lists them" if total else "'pachon up' makes the first"
        raise UsageError(f"there is no run {which!r}", cure=cure)
    raise UsageError(f"{which!r} is short for several runs", cure=f"one is {found[0].id}")


def _is_named(run: str, which: str) -> bool:
    return run == which or (len(which) >= 4 and (run.startswith(which) or run.endswith(which)))


def beside(store: Store, run: RunSummary) -> tuple[str, ...]:
    """What else the same process held leases of: the other sites of the same command."""
    if not run.process:
        return ()
    query = select(runs.c.site).where(runs.c.process == run.process, runs.c.site != run.site).distinct()
    with store.snapshot() as connection:
        return tuple(sorted(row.site for row in connection.execute(query)))


def steps_of(store: Store, run: str, *, address: str = "") -> tuple[Step, ...]:
    """Steps of a run in the order in which they were begun, of one address or of all."""
    query = select(steps).where(steps.c.run_id == run).order_by(steps.c.id)
    with store.snapshot() as connection:
        rows = connection.execute(query.where(steps.c.address == address) if address else query).all()
    return tuple(_step(row) for row in rows)


def step_before(store: Store, step: Step) -> Step | None:
    """The last step at the same address, before that one, that ended well: what it came from."""
    query = select(steps).where(
        steps.c.address == step.address, steps.c.id < step.number, steps.c.outcome == "done", steps.c.verb != "delete"
    )
    with store.snapshot() as connection:
        row = connection.execute(query.order_by(steps.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _step(row)


def _summaries(store: Store, connection: Connection, rows: Iterable[Row[Any]]) -> tuple[RunSummary, ...]:
    listed = list(rows)
    if not listed:
        return ()
    now = store.now(connection)
    ids = connection.execute(select(runs.c.id).order_by(*NEWEST_FIRST)).scalars()
    number_by_run = {run: number for number, run in enumerate(ids, start=1)}
    alive = {held.run_id: not held.dead for held in held_in(connection)}
    counted: dict[str, dict[str, int]] = {row.id: {} for row in listed}
    query = select(steps.c.run_id, steps.c.outcome, func.count().label("number")).group_by(
        steps.c.run_id, steps.c.outcome
    )
    for row in connection.execute(query.where(steps.c.run_id.in_(list(counted)))):
        counted[row.run_id][row.outcome or ""] = row.number
    return tuple(_summary(row, number_by_run[row.id], counted[row.id], alive.get(row.id), now) for row in listed)


def _summary(row: Row[Any], number: int, counts: dict[str, int], alive: bool | None, now: datetime) -> RunSummary:
    started = aware(row.started_at)
    ended = None if row.ended_at is None else aware(row.ended_at)
    outcome: RunOutcome = "unknown" if alive is None else "running" if alive else "dead"
    if ended is not None:
        outcome = row.outcome or "unknown"
    until = ended or (now if alive else None)
    took = None if until is None or until < started else round((until - started) / timedelta(seconds=1), 1)
    return RunSummary(
        id=row.id,
        number=number,
        facility=row.facility,
        site=row.site,
        command=row.command,
        user=row.user,
        controller=row.controller or "",
        process=row.process or "",
        started_at=started,
        ended_at=ended,
        took_seconds=took,
        outcome=outcome,
        steps=sum(counts.values()),
        changes=counts.get("done", 0),
        failed=counts.get("failed", 0),
        unfinished=counts.get("", 0),
    )


def _step(row: Row[Any]) -> Step:
    return Step(
        number=row.id,
        address=row.address,
        kind=row.kind,
        verb=row.verb,
        generation=row.generation,
        started_at=aware(row.intended_at),
        ended_at=None if row.ended_at is None else aware(row.ended_at),
        outcome=row.outcome or "begun",
        message=row.message,
        inputs=dict(row.inputs),
    )
