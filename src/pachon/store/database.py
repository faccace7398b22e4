"""An open store: one SQLite file in WAL mode by default, any SQLAlchemy address otherwise (without a password in it).

Every transaction takes the write lock at its start, so that what it read still holds when it commits.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Connection, Engine

from pachon.errors import PachonError, PermanentError, TemporaryError
from pachon.store.tables import HEAD, METADATA


class Store:
    """The control store of one facility."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed whole, or not at all."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except PachonError:
            raise
        except sqlalchemy.exc.OperationalError as error:
            raise TemporaryError(
                f"the store {self._engine.url.render_as_string()} does not answer: {error.orig}",
                cure="look at the disk's free space and at who else has the store open, then run again",
            ) from error

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()


def aware(moment: Any) -> datetime:
    """A moment as read from the store, with its zone (SQLite drops it; all of ours are UTC)."""
    if not isinstance(moment, datetime):
        raise PermanentError(f"the store holds {moment!r} where a moment belongs", cure="restore it from a copy")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def open_store(where: Path | str) -> Store:
    """The store in that file or at that SQLAlchemy address, made or brought up to date if need be.

    Raises:
        PermanentError: it was written by a later Pachon.
    """
    if isinstance(where, str) and "://" in where:
        engine = sqlalchemy.create_engine(where)
        _bring_up_to_date(engine)
        return Store(engine)
    path = Path(where)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30, "check_same_thread": False})
    sqlalchemy.event.listen(engine, "connect", _on_connect)
    sqlalchemy.event.listen(engine, "begin", _on_begin)
    if _version(engine) != HEAD:
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _bring_up_to_date(engine)
    return Store(engine)


def _on_connect(connection: Any, record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _version(engine: Engine) -> str:
    """The migration that the database has seen; empty for a new one."""
    with engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def _bring_up_to_date(engine: Engine) -> None:
    version = _version(engine)
    if version == HEAD:
        return
    if version > HEAD:
        raise PermanentError(
            f"the store is at migration {version}, this Pachon knows {HEAD}", cure="use the Pachon that wrote it"
        )
    if version:
        migrate(engine)
        return
    with engine.begin() as connection:
        METADATA.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{HEAD}')")


def migrate(engine: Engine) -> None:
    """Carry out all migrations that the database has not seen (alembic is dear to import, so only here)."""
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
