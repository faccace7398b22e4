"""The record of rollouts: what is wanted of each, each step before its effect and after, and what opened which gate.

Whoever carries a rollout out writes under its lease, checked in the same transaction. What people want of it
(``ask``, ``speak``) is written without one: it is read by whoever carries it out.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, insert, select, update
from sqlalchemy.engine import Connection

from pachon.errors import RefusedError
from pachon.model.rollout_record import RolloutOutcome, RolloutRow, StepOutcome, StepRow, Wanted, Way, Word
from pachon.store import releases
from pachon.store.database import Store, aware
from pachon.store.lease import Lease, require
from pachon.store.tables import rollout_steps, rollout_words, rollouts

_LIGHT = tuple(column for column in rollouts.columns if column.name != "plan")
"""A plan is large, and rows are read twice a second."""
_SAID = select(func.count()).select_from(rollout_words).where(rollout_words.c.rollout == bindparam("name"))
_ROW = select(*_LIGHT, _SAID.scalar_subquery().label("words")).where(rollouts.c.id == bindparam("name"))
"""Made once: to make a statement costs as much as to execute it."""


def lease_name(service: str) -> str:
    """What the one writer of a service's rollouts holds."""
    return f"rollout/{service}"


class RolloutRecord:
    """One rollout's record, written under its service's lease."""

    def __init__(self, store: Store, name: str, lease: Lease) -> None:
        self._store = store
        self._name = name
        self._lease = lease

    @property
    def name(self) -> str:
        """Of the rollout."""
        return self._name

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self._store

    def row(self) -> RolloutRow:
        """The rollout as it is now, with what is wanted of it."""
        found = rollout_of(self._store, self._name)
        if found is None:
            raise RefusedError(f"rollout {self._name} is no longer in the store", cure="restore the store from a copy")
        return found

    def begin(self, step: StepRow) -> None:
        """Put on disk that a step is about to be taken; one that was begun before counts one attempt more."""
        own = _one(self._name, step.way, step.number)
        with self._store.transaction() as connection:
            self._require(connection)
            known = connection.execute(select(rollout_steps.c.attempts).where(own)).one_or_none()
            if known is None:
                values = _written(asdict(step)) | {"rollout": self._name, "run_id": self._lease.run_id}
                connection.execute(insert(rollout_steps).values(**values))
            else:
                values = {"attempts": known.attempts + 1, "run_id": self._lease.run_id}
                connection.execute(update(rollout_steps).where(own).values(**values))

    def end(self, way: Way, number: int, outcome: StepOutcome, evidence: Mapping[str, Any], *, at: datetime) -> None:
        """Put on disk how a step ended, and on what evidence."""
        with self._store.transaction() as connection:
            self._require(connection)
            self._end(connection, (way, number), outcome, evidence=evidence, at=at)

    def prove(self, number: int, proof: releases.Proof, evidence: Mapping[str, Any], *, at: datetime) -> None:
        """Put on disk that the new release is in force at a place, and proven unless it is to go back already."""
        with self._store.transaction() as connection:
            self._require(connection)
            self._end(connection, ("forward", number), "done", evidence=evidence, at=at)
            if _row_in(connection, self._name).wanted != "back":
                releases.prove_in(connection, proof, rollout=self._name, at=at)
            releases.put_in_force_in(connection, proof, rollout=self._name, at=at)

    def settle(self, number: int, proof: releases.Proof, *, at: datetime) -> None:
        """Put on disk that the old release is in force at a place again."""
        with self._store.transaction() as connection:
            self._require(connection)
            self._end(connection, ("back", number), "done", evidence={}, at=at)
            releases.put_in_force_in(connection, proof, rollout=self._name, at=at)

    def turn_back(
        self, *, why: str, by: str, hold: bool, at: datetime, failed: tuple[int, Mapping[str, Any]] | None = None
    ) -> None:
        """Put on disk that the rollout goes back, and, with it, that nobody is to bring its version anywhere again.

        ``failed``: number of the step that failed, and what it had seen; its end is in the same transaction.
        """
        with self._store.transaction() as connection:
            self._require(connection)
            if failed is not None:
                number, evidence = failed
                self._end(connection, ("forward", number), "failed", evidence=evidence, at=at)
            row = _row_in(connection, self._name)
            if row.wanted != "back":
                _want(connection, self._name, "back", by=by, why=why, at=at)
            if hold:
                releases.hold_in(connection, row.service, row.version, why=why, by=by, rollout=self._name, at=at)

    def wait_for(self, what: str, *, since: datetime | None) -> None:
        """Put on disk what it waits for; nothing: it works."""
        with self._store.transaction() as connection:
            self._require(connection)
            own = rollouts.c.id == self._name
            connection.execute(update(rollouts).where(own).values(waits=what, waits_since=since))

    def close(self, outcome: RolloutOutcome, *, at: datetime) -> bool:
        """Put its end on disk; not if something else was asked of it in the meantime."""
        with self._store.transaction() as connection:
            self._require(connection)
            wanted = _row_in(connection, self._name).wanted
            if (wanted == "back") != (outcome == "rolled back") or wanted == "paused":
                return False
            ended = {"ended_at": at, "outcome": outcome, "waits": "", "waits_since": None}
            connection.execute(update(rollouts).where(rollouts.c.id == self._name).values(**ended))
            return True

    def _end(
        self,
        connection: Connection,
        step: tuple[Way, int],
        outcome: StepOutcome,
        *,
        evidence: Mapping[str, Any],
        at: datetime,
    ) -> None:
        values = {"ended_at": at, "outcome": outcome, "evidence": dict(evidence)}
        connection.execute(update(rollout_steps).where(_one(self._name, *step)).values(**values))

    def _require(self, connection: Connection) -> None:
        require(connection, self._lease.site, self._lease.fencing_token)


def open_rollout(store: Store, lease: Lease, row: RolloutRow, plan: Mapping[str, Any]) -> RolloutRecord:
    """A new rollout's record, with nothing done yet."""
    values = _written(asdict(row)) | {"plan": dict(plan)}
    del values["words"]
    with store.transaction() as connection:
        require(connection, lease.site, lease.fencing_token)
        connection.execute(insert(rollouts).values(**values))
        for each in ("old", "new"):
            releases.know_in(connection, plan[each], at=row.started_at)
    return RolloutRecord(store, row.id, lease)


def ask(store: Store, name: str, wanted: Wanted, *, by: str, why: str, at: datetime) -> RolloutRow:
    """The rollout as it was before this was asked of it.

    Raises:
        RefusedError: it has ended, or is on its way back, which nothing turns.
    """
    with store.transaction() as connection:
        row = _row_in(connection, name)
        if row.ended_at is not None:
            raise RefusedError(f"rollout {name} has ended: {row.outcome}", cure="nothing to do")
        if row.wanted == "back" and wanted != "back":
            raise RefusedError(
                f"rollout {name} is on its way back: {row.wanted_why}",
                cure="wait for its end ('pachon rollout status'), and begin another one",
            )
        if row.wanted != wanted:
            _want(connection, name, wanted, by=by, why=why, at=at)
        return row


def speak(store: Store, name: str, word: Word) -> None:
    """Keep what the Observatory said of a rollout; whether it is theirs is seen when it is read.

    Raises:
        RefusedError: it has ended.
    """
    with store.transaction() as connection:
        row = _row_in(connection, name)
        if row.ended_at is not None:
            raise RefusedError(f"rollout {name} has ended: {row.outcome}", cure="nothing to do")
        connection.execute(insert(rollout_words).values(rollout=name, **_written(asdict(word))))


def words_about(store: Store, name: str) -> tuple[Word, ...]:
    """All that was said of a rollout, in order."""
    query = select(rollout_words).where(rollout_words.c.rollout == name).order_by(rollout_words.c.id)
    with store.snapshot() as connection:
        return tuple(Word(row.document, row.signature, aware(row.at)) for row in connection.execute(query))


def plan_of(store: Store, name: str) -> Mapping[str, Any]:
    """The plan that a rollout goes by, as a document."""
    with store.snapshot() as connection:
        return dict(connection.execute(select(rollouts.c.plan).where(rollouts.c.id == name)).scalar_one())


def rollouts_of(store: Store, service: str = "") -> tuple[RolloutRow, ...]:
    """All rollouts, or those of one service, the latest first."""
    query = select(*_LIGHT).order_by(rollouts.c.started_at.desc(), rollouts.c.id.desc())
    with store.snapshot() as connection:
        found = connection.execute(query.where(rollouts.c.service == service) if service else query).all()
        return tuple(map(_row, found))


def rollout_of(store: Store, name: str) -> RolloutRow | None:
    """The rollout of that name."""
    with store.snapshot() as connection:
        found = connection.execute(_ROW, {"name": name}).one_or_none()
        return None if found is None else _row(found)


def steps_of(store: Store, name: str) -> tuple[StepRow, ...]:
    """All steps of a rollout that were begun: forward, then back, each in order."""
    query = select(rollout_steps).where(rollout_steps.c.rollout == name)
    with store.snapshot() as connection:
        found = [_step(row) for row in connection.execute(query)]
    return tuple(sorted(found, key=lambda step: (step.way == "back", step.number)))


def _one(name: str, way: Way, number: int) -> Any:
    own = rollout_steps.c
    return and_(own.rollout == name, own.way == way, own.number == number)


def _want(connection: Connection, name: str, wanted: Wanted, *, by: str, why: str, at: datetime) -> None:
    if wanted == "back":
        releases.unprove_in(connection, rollout=name)
    values = {"wanted": wanted, "wanted_by": by, "wanted_why": why, "wanted_at": at}
    connection.execute(update(rollouts).where(rollouts.c.id == name).values(**values))


def _row_in(connection: Connection, name: str) -> RolloutRow:
    row = connection.execute(_ROW, {"name": name}).one_or_none()
    if row is None:
        raise RefusedError(f"there is no rollout {name}", cure="'pachon rollout history' lists all")
    return _row(row)


def _row(row: Any) -> RolloutRow:
    return RolloutRow(**{name: _read(value) for name, value in row._mapping.items()})


def _step(row: Any) -> StepRow:
    return StepRow(**{name: _read(value) for name, value in row._mapping.items() if name != "rollout"})


def _read(value: Any) -> Any:
    return aware(value) if isinstance(value, datetime) else value


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in values.items()}
