"""Rollouts as they are now, from the store alone: while they are carried out, after a kill, and for the record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pachon.errors import UsageError
from pachon.model.base import Frozen
from pachon.model.rollout_record import RolloutRow, StepRow
from pachon.rollout.plan import RolloutPlan
from pachon.store.database import Store
from pachon.store.lease import holder_of
from pachon.store.rollouts import lease_name, plan_of, rollout_of, rollouts_of, steps_of


class PlaceStatus(Frozen):
    """One place of a rollout."""

    place: str
    wave: str
    state: str
    """``waiting``, ``changing``, ``proven``, ``going back`` or ``back``."""
    share_percent: int
    """Of the requests, to the new release, as it was last told to the front door."""


class StepStatus(Frozen):
    """A step that was begun."""

    way: str
    number: int
    place: str
    verb: str
    does: str
    begun_at: datetime
    ended_at: datetime | None
    outcome: str | None
    attempts: int
    evidence: Mapping[str, Any]


class RolloutStatus(Frozen):
    """A rollout: who, what, why, how far, and which evidence opened which gate."""

    id: str
    service: str
    version: str
    from_version: str
    state: str
    """``running``, ``paused``, ``going back``, ``interrupted`` (nobody carries it out), ``done`` or ``rolled back``."""
    by: str
    why: str
    wanted: str
    wanted_by: str
    wanted_why: str
    wanted_at: datetime
    waits: str
    waits_since: datetime | None
    carried_out_by: str
    started_at: datetime
    ended_at: datetime | None
    done: int
    steps_in_all: int
    places: tuple[PlaceStatus, ...]
    steps: tuple[StepStatus, ...]


def find(store: Store, which: str) -> RolloutRow:
    """The rollout of that name, or the latest one of the service of that name.

    Raises:
        UsageError: there is none.
    """
    named = rollout_of(store, which)
    if named is not None:
        return named
    found = rollouts_of(store, which)
    if not found:
        known = ", ".join(sorted({row.service for row in rollouts_of(store)}))
        cure = f"there are rollouts of {known}" if known else "'pachon rollout start SERVICE VERSION' begins one"
        raise UsageError(f"there is no rollout {which!r}, nor one of a service of that name", cure=cure)
    return found[0]


def status_of(store: Store, row: RolloutRow) -> RolloutStatus:
    """The rollout as it is."""
    plan = RolloutPlan.model_validate(plan_of(store, row.id))
    taken = steps_of(store, row.id)
    held = holder_of(store, lease_name(row.service))
    alive = held is not None and not held.dead and row.ended_at is None
    ended = sum(step.way == "forward" and step.outcome == "done" for step in taken)
    said = {step.number: step.said for step in plan.steps}
    return RolloutStatus(
        id=row.id,
        service=row.service,
        version=row.version,
        from_version=row.from_version,
        state=_state(row, alive=alive),
        by=row.by,
        why=row.why,
        wanted=row.wanted,
        wanted_by=row.wanted_by,
        wanted_why=row.wanted_why,
        wanted_at=row.wanted_at,
        waits=row.waits,
        waits_since=row.waits_since,
        carried_out_by=str(held.holder) if held is not None and alive else "",
        started_at=row.started_at,
        ended_at=row.ended_at,
        done=ended,
        steps_in_all=len(said),
        places=tuple(_place(plan, place.address, taken) for place in plan.places),
        steps=tuple(
            StepStatus(
                way=step.way,
                number=step.number,
                place=step.place,
                verb=step.verb,
                does=said.get(step.number, step.verb) if step.way == "forward" else step.evidence.get("did", step.verb),
                begun_at=step.begun_at,
                ended_at=step.ended_at,
                outcome=step.outcome,
                attempts=step.attempts,
                evidence=step.evidence,
            )
            for step in taken
        ),
    )


def _state(row: RolloutRow, *, alive: bool) -> str:
    if row.outcome is not None:
        return row.outcome
    if not alive:
        return "interrupted"
    return {"forward": "running", "paused": "paused", "back": "going back"}[row.wanted]


def _place(plan: RolloutPlan, address: str, taken: tuple[StepRow, ...]) -> PlaceStatus:
    wave = next(wave.name for wave in plan.waves if any(step.place == address for step in wave.steps))
    own = [step for step in taken if step.place == address]
    planned = {step.number: step.shares_percent.get(plan.new.version, 0) for step in plan.steps}
    told = [step for step in own if step.verb == "weigh" and step.outcome == "done"]
    share = 0 if not told or told[-1].way == "back" else planned[told[-1].number]
    back = [step for step in own if step.way == "back"]
    if back:
        state = "back" if any(step.verb == "settle" and step.outcome == "done" for step in back) else "going back"
    elif any(step.verb == "prove" and step.outcome == "done" for step in own):
        state = "proven"
    else:
        state = "changing" if own else "waiting"
    return PlaceStatus(place=address, wave=wave, state=state, share_percent=share)
