"""Copies of a store: into a file that any kind of store can be restored from, and into an SQLite file of its own.

The file is JSON lines: a header, a line for each row, and at the end their number and a digest of all before it. It
shows one moment of the store, and is taken without holding up a run that writes.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Table, func, insert, select, update
from sqlalchemy.engine import Connection

from pachon.errors import PermanentError, RefusedError, UsageError
from pachon.model.base import Frozen
from pachon.store.database import Store, aware, open_store
from pachon.store.lease import clear_leases, first_token
from pachon.store.tables import HEAD, METADATA, leases, runs

FORMAT = "pachon-store-backup"
FORMAT_VERSION = 1
ROWS_AT_ONCE = 500
TABLES = tuple(METADATA.tables[name] for name in sorted(METADATA.tables))


class Backup(Frozen):
    """What a backup holds."""

    file: str
    migration: str
    made_at: datetime
    rows: dict[str, int]
    """Number of rows by table."""
    sha256: str


def back_up(store: Store, path: Path) -> Backup:
    """A backup of the store in a new file, readable by its owner only; the file is whole or not there.

    Raises:
        UsageError: the file is there already, or its folder is not.
        PermanentError: it cannot be written.
    """
    if path.exists():
        raise UsageError(f"{path} is there already", cure="give the backup a name of its own, or remove that file")
    draft = path.with_name(f"{path.name}.new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            made = _write(store, file, path)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        raise PermanentError(
            f"{path} cannot be written: {error.strerror}", cure="choose a folder that is there, with room, and ours"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return made


def _write(store: Store, file: Any, path: Path) -> Backup:
    whole, counts, now = hashlib.sha256(), {table.name: 0 for table in TABLES}, datetime.now(UTC)

    def line(value: object) -> None:
        text = (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        whole.update(text)
        file.write(text)

    header = {"format": FORMAT, "version": FORMAT_VERSION, "migration": HEAD, "made_at": now.isoformat()}
    with store.snapshot() as connection:
        line(header)
        for table in TABLES:
            for row in _rows(connection, table):
                line([table.name, {name: _written(value) for name, value in row.items()}])
                counts[table.name] += 1
    sha256 = whole.hexdigest()
    line({"end": {"rows": sum(counts.values()), "sha256": sha256}})
    return Backup(file=str(path), migration=HEAD, made_at=now, rows=counts, sha256=sha256)


def _rows(connection: Connection, table: Table) -> Iterator[dict[str, Any]]:
    query = select(table).order_by(*table.primary_key.columns)
    result = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
    for row in result:
        yield dict(row._mapping)


def _written(value: object) -> object:
    return aware(value).isoformat() if isinstance(value, datetime) else value


def inspect_backup(path: Path) -> Backup:
    """What a backup holds, once all of it was read and proven to be what was written.

    Raises:
        UsageError: it is not there, is none, is cut short, or was changed.
        RefusedError: another version of Pachon wrote it.
    """
    none = UsageError(f"{path} is no backup of a store", cure="'pachon store backup FILE' writes one")
    whole, counts, end = hashlib.sha256(), {table.name: 0 for table in TABLES}, None
    try:
        with path.open("rb") as file:
            try:
                header = _parsed(file.readline(), whole)
            except ValueError:
                raise none from None
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise none
            _refuse_other_version(path, header)
            for text in file:
                before = whole.hexdigest()
                value = _parsed(text, whole)
                if isinstance(value, dict):
                    end = value.get("end")
                    intact = end == {"rows": sum(counts.values()), "sha256": before}
                    if not intact or file.read(1):
                        end = None
                    break
                counts[value[0]] += 1
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", cure="name a file that is there") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _spoilt(path) from error
    if end is None:
        raise _spoilt(path)
    made_at = datetime.fromisoformat(header["made_at"])
    return Backup(file=str(path), migration=header["migration"], made_at=made_at, rows=counts, sha256=end["sha256"])


def _parsed(text: bytes, whole: Any) -> Any:
    whole.update(text)
    return json.loads(text)


def _spoilt(path: Path) -> UsageError:
    return UsageError(
        f"{path} is cut short or was changed: what it says at its end is not what it holds",
        cure="use another copy; nothing was changed",
    )


def _refuse_other_version(path: Path, header: dict[str, Any]) -> None:
    version, migration = header.get("version"), header.get("migration")
    if (version, migration) != (FORMAT_VERSION, HEAD):
        raise RefusedError(
            f"{path} was written at migration {migration} (format {version}), this Pachon is at {HEAD} "
            f"(format {FORMAT_VERSION})",
            cure="restore it with the Pachon that wrote it, then open that store with this one; nothing was changed",
        )


def restore(store: Store, path: Path, *, replace: bool) -> Backup:
    """What was restored from a backup; what the store held before is gone then.

    No lease is held afterwards, runs that were under way have ended as killed, and the next writer's fencing token is
    above all that were ever given, so that hosts take it for the newest.

    Raises:
        UsageError: the file is no backup, or not whole.
        RefusedError: another version wrote it, or the store holds something and ``replace`` was not said.
        LeaseHeldError: somebody writes to the store.
    """
    made = inspect_backup(path)
    with store.transaction() as connection:
        now = store.now(connection)
        clear_leases(connection, now)
        held = {table.name: _count(connection, table) for table in TABLES}
        if any(held.values()) and not replace:
            told = ", ".join(f"{number} {name}" for name, number in held.items() if number)
            raise RefusedError(
                f"the store {store.where} is not empty: {told}", cure="add --replace to have the backup in its place"
            )
        tokens = dict(connection.execute(select(leases.c.site, leases.c.fencing_token)).all())
        _fill(connection, _read(path))
        for site, token in connection.execute(select(leases.c.site, leases.c.fencing_token)).all():
            newest = max(token, tokens.pop(site, 0), first_token(now))
            connection.execute(
                update(leases)
                .where(leases.c.site == site)
                .values(fencing_token=newest, released_at=func.coalesce(leases.c.released_at, now))
            )
        connection.execute(update(runs).where(runs.c.ended_at.is_(None)).values(ended_at=now, outcome="killed"))
    return made


def copy_to_file(store: Store, path: Path) -> None:
    """An SQLite file with exactly what the store holds at one moment, leases and all; for another machine."""
    if store.kind == "sqlite":
        with (
            contextlib.closing(sqlite3.connect(store.where)) as source,
            contextlib.closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
        return
    copied = open_store(path)
    try:
        with store.snapshot() as connection, copied.transaction() as target_connection:
            rows = ((table, row) for table in TABLES for row in _rows(connection, table))
            _fill(target_connection, rows)
    finally:
        copied.close()


def _read(path: Path) -> Iterator[tuple[Table, dict[str, Any]]]:
    with path.open("rb") as file:
        file.readline()
        for text in file:
            value = json.loads(text)
            if isinstance(value, dict):
                return
            table = METADATA.tables[value[0]]
            yield table, {name: _as_column(table, name, each) for name, each in value[1].items()}


def _as_column(table: Table, name: str, value: Any) -> Any:
    moment = isinstance(table.columns[name].type, DateTime) and value is not None
    return datetime.fromisoformat(value) if moment else value


def _fill(connection: Connection, rows: Iterator[tuple[Table, dict[str, Any]]]) -> None:
    for table in TABLES:
        connection.execute(table.delete())
    for table, group in groupby(rows, key=lambda pair: pair[0]):
        batch: list[dict[str, Any]] = []
        for _, row in group:
            batch.append(row)
            if len(batch) == ROWS_AT_ONCE:
                connection.execute(insert(table), batch)
                batch = []
        if batch:
            connection.execute(insert(table), batch)
    if connection.dialect.name == "postgresql":
        _move_sequences(connection)


def _move_sequences(connection: Connection) -> None:
    """Have numbers that the database gives go on above those that were copied."""
    for table in TABLES:
        if (column := table.autoincrement_column) is not None:
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "
                f"COALESCE((SELECT max({column.name}) FROM {table.name}), 0) + 1, false)"
            )


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def count_rows(store: Store) -> dict[str, int]:
    """Number of rows of each table."""
    with store.snapshot() as connection:
        return {table.name: _count(connection, table) for table in TABLES}
