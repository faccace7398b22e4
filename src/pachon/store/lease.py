"""One writer per site: a row with a fencing token that only grows, and what is proven about its holder.

A lease is taken over when its holder is proven dead on this machine, whatever any clock says; of a holder whose
processes cannot be seen from here, when its lease has expired by the store's clock. What is left of the dead run is
killed before the row changes hands.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.engine import Connection, Row

from pachon.errors import LeaseHeldError, PachonError, RefusedError, TemporaryError
from pachon.processes import run_group
from pachon.processes.holder import Holder, is_visible, proven_dead, this_process
from pachon.store.database import Store, aware
from pachon.store.tables import leases, runs

_HOLDING = select(leases.c.fencing_token, leases.c.released_at).where(leases.c.site == bindparam("site"))
TOKENS_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
LIFETIME = timedelta(minutes=2)
"""How long a lease outlives its last heartbeat, for controllers that cannot look at the holder's processes."""


@dataclass(frozen=True)
class Lease:
    """The right to write at a site."""

    site: str
    run_id: str
    fencing_token: int
    took_over: str = ""
    """Run of the dead holder it was taken from, if any."""


@dataclass(frozen=True)
class Held:
    """A lease as others see it."""

    site: str
    run_id: str
    holder: Holder
    command: str
    since: datetime
    expires_at: datetime
    dead: bool
    """Proven: the next writer takes it over without asking."""


def new_run_id(now: datetime | None = None) -> str:
    """A name for a run: its moment and eight random digits."""
    return (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ-") + uuid.uuid4().hex[:8]


def acquire(store: Store, site: str, *, facility: str, command: str, run_id: str = "") -> Lease:
    """The lease of the site, with a run begun under it.

    Raises:
        LeaseHeldError: another writer holds it; says who, since when, and how to lift it.
    """
    holder = this_process()
    with store.transaction() as connection:
        now = store.now(connection)
        run_id = run_id or new_run_id(now)
        row = connection.execute(select(leases).where(leases.c.site == site)).one_or_none()
        token, took_over = first_token(now), ""
        if row is not None:
            token = row.fencing_token + 1
            if row.released_at is None:
                took_over = _take_over(connection, row, now)
        values = {
            "fencing_token": token,
            "run_id": run_id,
            "holder": holder.model_dump(),
            "command": command,
            "since": now,
            "heartbeat_at": now,
            "expires_at": now + LIFETIME,
            "released_at": None,
        }
        if row is None:
            connection.execute(insert(leases).values(site=site, **values))
        else:
            connection.execute(update(leases).where(leases.c.site == site).values(**values))
        connection.execute(
            insert(runs).values(
                id=run_id,
                facility=facility,
                site=site,
                command=command,
                user=holder.user,
                fencing_token=token,
                started_at=now,
                controller=holder.machine,
                process=holder.process,
            )
        )
    return Lease(site=site, run_id=run_id, fencing_token=token, took_over=took_over)


def _take_over(connection: Connection, row: Row[tuple[object, ...]], now: datetime) -> str:
    """The dead run's name, once nothing of it is left; LeaseHeldError if it is not proven dead."""
    held = _held(row)
    if not held.dead and (is_visible(held.holder) or now <= held.expires_at):
        raise LeaseHeldError(
            f"site {held.site} is being written to by {held.holder} since {held.since:%Y-%m-%d %H:%M:%S} UTC: "
            f"{held.command}",
            cure=f"wait for it, or end process {held.holder.pid} on {held.holder.machine}; "
            "the next run then takes the lease over by itself",
        )
    run_group.end(held.run_id)
    connection.execute(
        update(runs).where(runs.c.id == held.run_id, runs.c.ended_at.is_(None)).values(ended_at=now, outcome="killed")
    )
    return held.run_id


def _held(row: Row[tuple[object, ...]]) -> Held:
    holder = Holder.model_validate(row.holder)
    return Held(
        site=row.site,
        run_id=row.run_id,
        holder=holder,
        command=row.command,
        since=aware(row.since),
        expires_at=aware(row.expires_at),
        dead=proven_dead(holder),
    )


def clear_leases(connection: Connection, now: datetime) -> None:
    """Nothing, if nobody writes under any lease of the store; what dead runs left running is killed.

    Raises:
        LeaseHeldError: somebody does.
    """
    for row in connection.execute(select(leases).where(leases.c.released_at.is_(None))).all():
        _take_over(connection, row, now)


def held_leases(store: Store) -> list[Held]:
    """All leases that were not given back, by site."""
    with store.snapshot() as connection:
        return held_in(connection)


def held_in(connection: Connection) -> list[Held]:
    """As ``held_leases``, inside the caller's transaction."""
    rows = connection.execute(select(leases).where(leases.c.released_at.is_(None))).all()
    return sorted((_held(row) for row in rows), key=lambda held: held.site)


def first_token(now: datetime) -> int:
    """A token above all that a store which was lost has given: one a run, and no run is over in a second."""
    return max(1, int((now - TOKENS_SINCE).total_seconds()))


def holder_of(store: Store, site: str) -> Held | None:
    """Who holds the site's lease now, if anyone does."""
    with store.transaction() as connection:
        row = connection.execute(
            select(leases).where(leases.c.site == site, leases.c.released_at.is_(None))
        ).one_or_none()
    return None if row is None else _held(row)


def require(connection: Connection, site: str, fencing_token: int) -> None:
    """Nothing, if that token is the site's newest and not given back; inside the caller's transaction.

    Raises:
        RefusedError: a later writer has taken over.
    """
    row = connection.execute(_HOLDING, {"site": site}).one_or_none()
    if row is None or row.fencing_token != fencing_token or row.released_at is not None:
        raise RefusedError(
            f"run with fencing token {fencing_token} no longer holds the lease of site {site}",
            cure="nothing to do: the writer that took over carries on",
        )


def heartbeat(store: Store, lease: Lease) -> None:
    """Push back the expiry of a lease that is still ours (RefusedError otherwise)."""
    with store.transaction() as connection:
        now = store.now(connection)
        require(connection, lease.site, lease.fencing_token)
        connection.execute(
            update(leases).where(leases.c.site == lease.site).values(heartbeat_at=now, expires_at=now + LIFETIME)
        )


def note_outcome(store: Store, lease: Lease, outcome: str) -> None:
    """Say how the run comes out (``partial``), where its going to its end does not tell."""
    with store.transaction() as connection:
        require(connection, lease.site, lease.fencing_token)
        connection.execute(update(runs).where(runs.c.id == lease.run_id).values(outcome=outcome))


def release(store: Store, lease: Lease, outcome: str) -> None:
    """Give the lease back and end its run as noted, else so (``done``, ``failed``); no-op if it was taken from us."""
    with store.transaction() as connection:
        now = store.now(connection)
        connection.execute(
            update(leases)
            .where(leases.c.site == lease.site, leases.c.fencing_token == lease.fencing_token)
            .values(released_at=now)
        )
        connection.execute(
            update(runs)
            .where(runs.c.id == lease.run_id, runs.c.ended_at.is_(None))
            .values(ended_at=now, outcome=func.coalesce(runs.c.outcome, outcome))
        )
    run_group.forget(lease.run_id)


@contextmanager
def hold(store: Store, site: str, *, facility: str, command: str) -> Iterator[Lease]:
    """The site's lease for the length of a block, kept alive by a thread; released whatever happens in it."""
    lease = acquire(store, site, facility=facility, command=command)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(LIFETIME.total_seconds() / 4):
            try:
                heartbeat(store, lease)
            except TemporaryError:
                continue  # a store that is full or away may be back for the next one
            except PachonError:
                return

    thread = threading.Thread(target=beat, name=f"lease of {site}", daemon=True)
    thread.start()
    outcome = "failed"
    try:
        yield lease
        outcome = "done"
    finally:
        ended.set()
        thread.join()
        release(store, lease, outcome)
