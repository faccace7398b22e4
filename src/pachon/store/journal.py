"""Intent before effect, receipt after: what was begun, under which run and token, and how it ended.

Writers hand their entries to one thread, which commits all that wait in one transaction, and waits for a moment while
more come in: thousands of resources at once cost some dozens of disk flushes.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.engine import Connection, Row

from pachon.store.database import Store
from pachon.store.lease import require
from pachon.store.tables import steps

Verb = Literal["create", "update", "delete"]
Outcome = Literal["done", "failed"]
T = TypeVar("T")

GATHERING_SECONDS = 0.003
"""How long the thread waits for one more entry before it commits.

By ``queue.Queue``: the ``get`` of a ``SimpleQueue`` waits for ever when the time is over before it begins to wait
(Python 3.11), as it may be on a busy machine.
"""
GATHERED_AT_MOST = 500

_INTEND = insert(steps)
_FINISH = update(steps).where(steps.c.id == bindparam("step"))
_MADE = (
    select(steps.c.id)
    .where(
        steps.c.address == bindparam("address"),
        steps.c.generation == bindparam("generation"),
        steps.c.verb == "create",
        steps.c.outcome == "done",
    )
    .limit(1)
)
_ENDED_LAST = (
    select(steps.c.verb, steps.c.generation, steps.c.outcome)
    .where(steps.c.address == bindparam("address"), steps.c.outcome.is_not(None))
    .order_by(steps.c.id.desc())
    .limit(1)
)
"""Statements are made once: to make one costs as much as to execute it."""


@dataclass(frozen=True)
class Entry:
    """The last step known of an address, of which something may stand in the world; or one that nobody ended."""

    step: int
    """Its number."""
    address: str
    kind: str
    verb: Verb
    generation: str
    inputs: dict[str, Any]
    run_id: str
    outcome: Outcome | None
    """None: begun, and never heard of again (its run was killed)."""


class Journal:
    """The journal of one site, written under one lease."""

    def __init__(self, store: Store, *, site: str, run_id: str, fencing_token: int) -> None:
        self._store = store
        self._site = site
        self._run_id = run_id
        self._token = fencing_token
        self._waiting: queue.Queue[_Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    async def intend(self, address: str, verb: Verb, *, kind: str, generation: str, inputs: dict[str, Any]) -> int:
        """Number of the step whose intent is now on disk.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        values = self._values(address, verb, kind, generation, inputs)

        def work(connection: Connection) -> int:
            key = connection.execute(_INTEND, values).inserted_primary_key
            return int(key[0]) if key is not None else 0

        return await self.write(work)

    async def finish(self, step: int, outcome: Outcome, message: str = "") -> None:
        """Put the end of a step on disk."""

        def work(connection: Connection) -> None:
            finish_in(connection, step, outcome, message)

        await self.write(work)

    def note_in(
        self,
        connection: Connection,
        address: str,
        verb: Verb,
        *,
        kind: str,
        generation: str,
        inputs: dict[str, Any],
        message: str,
    ) -> None:
        """Put down, inside the transaction of ``write``, a step that was seen to need nothing done."""
        done = {"ended_at": datetime.now(UTC), "outcome": "done", "message": message}
        connection.execute(_INTEND, {**self._values(address, verb, kind, generation, inputs), **done})

    def _values(self, address: str, verb: Verb, kind: str, generation: str, inputs: dict[str, Any]) -> dict[str, Any]:
        return {
            "run_id": self._run_id,
            "site": self._site,
            "address": address,
            "kind": kind,
            "verb": verb,
            "generation": generation,
            "fencing_token": self._token,
            "inputs": inputs,
            "intended_at": datetime.now(UTC),
            "message": "",
        }

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` answers, once it is committed under our lease together with whatever else waits."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.put(_Job(work, loop, future))
        return cast(T, await future)

    def close(self) -> None:
        """Write what waits, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        last = False
        while not last:
            batch = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while batch[-1] is not None and len(batch) < GATHERED_AT_MOST:
                    batch.append(self._waiting.get(timeout=GATHERING_SECONDS))
            last = None in batch
            self._commit([job for job in batch if job is not None])

    def _commit(self, jobs: list["_Job"]) -> None:
        """Settle all of them in one transaction; where one is refused, each in its own."""
        try:
            answers = self._answers(jobs)
        except Exception as error:  # whatever it is, it is for the waiting callers
            if len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
                return
            answers = [error] * len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            job.settle(answer)

    def _answers(self, jobs: list["_Job"]) -> list[Any]:
        with self._store.transaction() as connection:
            require(connection, self._site, self._token)
            return [job.work(connection) for job in jobs]


@dataclass(frozen=True)
class _Job:
    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"

    def settle(self, answer: Any) -> None:
        def tell() -> None:
            if self.future.done():
                return
            if isinstance(answer, Exception):
                self.future.set_exception(answer)
            else:
                self.future.set_result(answer)

        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
            self.loop.call_soon_threadsafe(tell)


def finish_in(connection: Connection, step: int, outcome: Outcome, message: str = "") -> None:
    """Put down the end of a step, inside the caller's transaction."""
    told = message.replace("\0", "�")
    values = {"step": step, "ended_at": datetime.now(UTC), "outcome": outcome, "message": told}
    connection.execute(_FINISH, values)


def made_in(connection: Connection, address: str, generation: str) -> bool:
    """Whether a create of exactly this generation ever ended well."""
    return connection.execute(_MADE, {"address": address, "generation": generation}).first() is not None


def removed_in(connection: Connection, address: str, generation: str = "") -> bool:
    """Whether the last step at the address that ended is a delete (of exactly this generation) that ended well."""
    row = connection.execute(_ENDED_LAST, {"address": address}).first()
    return row is not None and (row.verb, row.outcome) == ("delete", "done") and generation in ("", row.generation)


def last_steps(store: Store, site: str) -> dict[str, Entry]:
    """The last step of each address of the site, by address."""
    newest = select(func.max(steps.c.id)).where(steps.c.site == site).group_by(steps.c.address)
    with store.transaction() as connection:
        rows = connection.execute(select(steps).where(steps.c.id.in_(newest))).all()
    return {row.address: _entry(row) for row in sorted(rows, key=lambda row: row.address)}


def standing(store: Store, site: str) -> list[Entry]:
    """What may stand in the world by our doing: each address whose last step is not a delete that ended well."""
    last = last_steps(store, site).values()
    return [entry for entry in last if not (entry.verb == "delete" and entry.outcome == "done")]


def given(store: Store, site: str) -> dict[str, list[dict[str, Any]]]:
    """Inputs of the last create or update that ended well, by address, and then of those that were begun since.

    They may have had their effect, or a part of it, though their run was killed or they failed.
    """
    last = select(steps.c.address, func.max(steps.c.id).label("step"))
    done = last.where(steps.c.site == site, steps.c.outcome == "done").group_by(steps.c.address).subquery()
    query = (
        select(steps.c.address, steps.c.inputs)
        .outerjoin(done, done.c.address == steps.c.address)
        .where(steps.c.site == site, steps.c.verb != "delete", steps.c.id >= func.coalesce(done.c.step, 0))
    )
    found: dict[str, list[dict[str, Any]]] = {}
    with store.transaction() as connection:
        for row in connection.execute(query.order_by(steps.c.id)):
            found.setdefault(row.address, []).append(dict(row.inputs))
    return found


def unfinished(store: Store, site: str, *, run_id: str) -> list[Entry]:
    """Steps of the site that were begun by other runs than that one, and never heard of again, in their order.

    Whoever holds the site's lease knows that those runs are dead.
    """
    query = select(steps).where(steps.c.site == site, steps.c.outcome.is_(None), steps.c.run_id != run_id)
    with store.transaction() as connection:
        return [_entry(row) for row in connection.execute(query.order_by(steps.c.id))]


def addresses_of(store: Store, site: str) -> set[str]:
    """Every address of the site at which anything was ever begun."""
    with store.transaction() as connection:
        return set(connection.execute(select(steps.c.address).where(steps.c.site == site).distinct()).scalars())


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        step=row.id,
        address=row.address,
        kind=row.kind,
        verb=row.verb,
        generation=row.generation,
        inputs=dict(row.inputs),
        run_id=row.run_id,
        outcome=row.outcome,
    )


def count_steps(store: Store, site: str, *, address: str = "") -> int:
    """How many steps were begun at the site, or at one address of it."""
    query = select(func.count()).select_from(steps).where(steps.c.site == site)
    with store.transaction() as connection:
        return int(connection.execute(query.where(steps.c.address == address) if address else query).scalar_one())
