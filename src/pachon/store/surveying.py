"""What a store holds, for people: how much of what, who writes, and whether its file is whole."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from pachon.model.base import Frozen
from pachon.store.copies import count_rows
from pachon.store.database import Store, aware
from pachon.store.lease import held_leases
from pachon.store.tables import runs


class Writer(Frozen):
    """Who holds a lease."""

    site: str
    run: str
    holder: str
    command: str
    since: datetime
    dead: bool
    """Proven: the next run takes over by itself."""


class Survey(Frozen):
    """A store as it is."""

    where: str
    """File or address, without a password."""
    kind: str
    migration: str
    size_bytes: int
    rows: dict[str, int]
    """Number of rows by table."""
    first_run_at: datetime | None
    last_run_at: datetime | None
    writers: tuple[Writer, ...]
    faults: tuple[str, ...]
    """What is wrong with its file."""


def survey(store: Store) -> Survey:
    """The store as it is, after a look through all of it."""
    with store.snapshot() as connection:
        first, last = connection.execute(select(func.min(runs.c.started_at), func.max(runs.c.started_at))).one()
        if store.kind == "postgresql":
            query = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r' AND "
            query += "relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
            size = int(connection.exec_driver_sql(query).scalar_one())
        else:
            path = Path(store.where)
            size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    return Survey(
        where=store.where,
        kind=store.kind,
        migration=store.migration(),
        size_bytes=size,
        rows=count_rows(store),
        first_run_at=None if first is None else aware(first),
        last_run_at=None if last is None else aware(last),
        writers=tuple(
            Writer(
                site=held.site,
                run=held.run_id,
                holder=str(held.holder),
                command=held.command,
                since=held.since,
                dead=held.dead,
            )
            for held in held_leases(store)
        ),
        faults=tuple(store.faults()),
    )
