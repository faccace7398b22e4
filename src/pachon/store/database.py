"""An open store: one SQLite file by default, or a schema of a PostgreSQL database (no address holds a password).

Every transaction takes the write lock at its start, so that what it read still holds when it commits. A new file is
made aside and moved into place, so a file that is there and empty was not always so.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Connection, Engine

from pachon.errors import PermanentError
from pachon.store import engines, troubles
from pachon.store.tables import HEAD, METADATA

MIGRATIONS = Path(__file__).parent / "migrations"
Clock = Callable[[], datetime]


class Store:
    """The control store of one facility."""

    def __init__(self, engine: Engine, *, schema: str = "", clock: Clock | None = None) -> None:
        self._engine = engine
        self._schema = schema
        self._clock = clock

    @property
    def where(self) -> str:
        """File or address, for people."""
        url = self._engine.url
        if self.kind == "sqlite":
            return str(url.database)
        return f"{url.set(drivername='postgresql').render_as_string()} (schema {self._schema})"

    @property
    def kind(self) -> str:
        """Sqlite or postgresql."""
        return self._engine.dialect.name

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed whole, or not at all.

        Raises:
            TemporaryError: the store is full, busy or away.
            PermanentError: it is damaged, or may not be written to.
        """
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees one moment of the store, and holds up no writer (errors as of ``transaction``)."""
        options: dict[str, Any] = {engines.READS_ONLY: True}
        if self.kind == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._explained(), self._engine.connect() as plain:
            connection = plain.execution_options(**options)
            with connection.begin():
                yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlalchemy.exc.DBAPIError as error:
            told = troubles.explained(error, self.where)
            if told is None:
                raise
            raise told from error
        except json.JSONDecodeError as error:
            raise troubles.damaged(self.where, f"a document in it is none: {error}") from error

    def now(self, connection: Connection) -> datetime:
        """The moment by the one clock that all writers of this store share: the server's, or this machine's."""
        if self._clock is not None:
            return self._clock()
        if self.kind == "postgresql":
            return aware(connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one())
        return datetime.now(UTC)

    def migration(self) -> str:
        """The migration that the store has seen; empty for a new one."""
        with self.snapshot() as connection:
            return version_in(connection)

    def bring_up_to_date(self) -> None:
        """Make the tables, or carry out the migrations that are missing.

        Raises:
            PermanentError: a later Pachon wrote it.
        """
        with self.transaction() as connection:
            version = version_in(connection)
            if version == HEAD:
                return
            if version:
                if version not in known_migrations():
                    raise PermanentError(
                        f"the store {self.where} is at migration {version}, this Pachon knows {HEAD}",
                        cure="use the Pachon that wrote it, or a later one: nothing was changed",
                    )
                migrate_in(connection)
                return
            if self._schema:
                engines.make_schema(connection, self._schema)
            METADATA.create_all(connection)
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{HEAD}')")

    def faults(self) -> list[str]:
        """What a look through the whole of an SQLite file finds wrong with it; PostgreSQL looks after itself."""
        if self.kind != "sqlite":
            return []
        with self.snapshot() as connection:
            found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(5)")]
        return [fault for fault in found if fault != "ok"]

    def forget_all(self) -> None:
        """Remove the schema from the database; a file is for whoever owns its folder to remove."""
        if self._schema:
            with self.transaction() as connection:
                engines.drop_schema(connection, self._schema)

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()


def aware(moment: Any) -> datetime:
    """A moment as read from the store, with its zone (SQLite drops it; all of ours are UTC)."""
    if not isinstance(moment, datetime):
        raise PermanentError(f"the store holds {moment!r} where a moment belongs", cure="restore it from a copy")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def open_store(where: Path | str, *, clock: Clock | None = None) -> Store:
    """The store in that file or at that address (``places.store``), made or brought up to date if need be.

    Raises:
        PermanentError: a later Pachon wrote it, it is damaged, or it cannot be got at.
        TemporaryError: it is full, or does not answer.
    """
    if "://" in str(where):
        engine, schema = engines.postgresql(str(where))
        store = Store(engine, schema=schema, clock=clock)
    else:
        path = Path(where)
        _have_file(path)
        store = Store(engines.sqlite(path), clock=clock)
    try:
        version = store.migration()
        if version != HEAD:
            if store.kind == "sqlite" and not version:
                raise troubles.damaged(store.where, "it has no tables")
            store.bring_up_to_date()
    except BaseException:
        store.close()
        raise
    return store


def open_if_there(where: Path | str) -> Store | None:
    """The store in that file or at that address, if there is one (errors as of ``open_store``)."""
    if "://" not in str(where):
        return open_store(where) if Path(where).exists() else None
    engine, schema = engines.postgresql(str(where))
    store = Store(engine, schema=schema)
    try:
        there = bool(store.migration())
    finally:
        store.close()
    return open_store(where) if there else None


def put_aside(where: Path | str) -> Path | None:
    """The folder into which the files of a damaged SQLite store were moved; None if it is no file."""
    if "://" in str(where):
        return None
    path = Path(where)
    folder = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    folder.mkdir(mode=0o700)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        if (part := path.with_name(name)).exists():
            part.rename(folder / name)
    return folder


def _have_file(path: Path) -> None:
    """Have a store in that file: a new one is made aside, so that it is whole or not there."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            with path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    _make_file(path)
        if path.stat().st_size == 0:
            raise troubles.damaged(str(path), "the file is empty")
    except OSError as error:
        raise PermanentError(
            f"the store {path} cannot be made or opened: {error.strerror}", cure=troubles.FORBIDDEN
        ) from error


def _make_file(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise troubles.damaged(str(path), f"the file is gone, but {log.name} with its last writes is there")
    draft = path.with_name(f"{path.name}.new")
    for left in path.parent.glob(f"{draft.name}*"):
        left.unlink()
    draft.touch(mode=0o600)
    store = Store(engines.sqlite(draft))
    try:
        store.bring_up_to_date()
    finally:
        store.close()  # the last one to close writes the log into the file and removes it
    draft.rename(path)


def version_in(connection: Connection) -> str:
    """The migration that the database has seen; empty for a new one."""
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def known_migrations() -> frozenset[str]:
    """Names of all migrations that this Pachon has."""
    return frozenset(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def migrate_in(connection: Connection, *, to: str = "head") -> None:
    """Carry out all migrations that the database has not seen (alembic is dear to import, so only here)."""
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, to)
