"""How SQLite and PostgreSQL are opened, so that nothing above has to know which of them it is.

Alike in both: a transaction takes the one write lock before it reads, moments come back as they went in, a prefix
counts capitals, and who waits for the lock gives up after half a minute.
"""

import zlib
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import URL, Connection, Engine

from pachon.errors import PermanentError, UsageError

READS_ONLY = "pachon_reads_only"
"""Execution option of a connection that looks at one moment of the store and holds up no writer."""
PATIENCE_SECONDS = 30
IDLE_SECONDS = 120
"""A writer that says nothing for so long in the midst of a transaction has lost it, and with it the lock."""
LOCK_SPACE = 0x7061
DEFAULT_SCHEMA = "pachon"
SECRET_FILE_BITS = 0o077


def sqlite(path: Path) -> Engine:
    """An engine for that file."""
    timeouts = {"timeout": PATIENCE_SECONDS, "check_same_thread": False}
    engine = sqlalchemy.create_engine(URL.create("sqlite", database=str(path)), connect_args=timeouts)

    def on_connect(connection: Any, record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "case_sensitive_like=ON"):
            connection.execute(f"PRAGMA {setting}")

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if _reads_only(connection) else "BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", on_connect)
    sqlalchemy.event.listen(engine, "begin", on_begin)
    return engine


def postgresql(address: str) -> tuple[Engine, str]:
    """An engine for that database, and the name of the schema in it that is ours.

    ``schema`` and ``password_file`` in the address are for us; all else goes to the driver.

    Raises:
        UsageError: the address is none of PostgreSQL's, or has a password in it.
        PermanentError: the password's file is not there, or others may read it.
    """
    url = _parsed(address)
    schema = _one(url, "schema") or DEFAULT_SCHEMA
    secret = _one(url, "password_file")
    arguments: dict[str, Any] = {"connect_timeout": 10} if "connect_timeout" not in url.query else {}
    if secret:
        arguments["password"] = password(Path(secret))
    url = url.difference_update_query(["schema", "password_file"]).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, connect_args=arguments, pool_pre_ping=True)
    lock = f"SELECT pg_advisory_xact_lock({LOCK_SPACE}, {zlib.crc32(schema.encode()) - 2**31})"
    settings = {
        "search_path": _quoted(schema),
        "timezone": "'UTC'",
        "lock_timeout": f"'{PATIENCE_SECONDS}s'",
        "idle_in_transaction_session_timeout": f"'{IDLE_SECONDS}s'",
    }

    def on_connect(connection: Any, record: object) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name, value in settings.items():
                cursor.execute(f"SET SESSION {name} TO {value}")
        connection.autocommit = False

    def on_begin(connection: Connection) -> None:
        if not _reads_only(connection):
            connection.exec_driver_sql(lock)

    sqlalchemy.event.listen(engine, "connect", on_connect, insert=True)
    sqlalchemy.event.listen(engine, "begin", on_begin)
    return engine, schema


def make_schema(connection: Connection, schema: str) -> None:
    """Have the schema in the database."""
    known = connection.execute(
        sqlalchemy.text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :name"), {"name": schema}
    )
    if known.first() is None:
        connection.exec_driver_sql(f"CREATE SCHEMA {_quoted(schema)}")


def drop_schema(connection: Connection, schema: str) -> None:
    """Remove the schema with all that is in it."""
    connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {_quoted(schema)} CASCADE")


def password(path: Path) -> str:
    """What the file holds, without the end of its line.

    Raises:
        PermanentError: it is not there, or others may read it.
    """
    try:
        if path.stat().st_mode & SECRET_FILE_BITS:
            raise PermanentError(f"{path}: others may read the store's password", cure=f"chmod 600 {path}")
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise PermanentError(
            f"{path}: the store's password cannot be read: {error.strerror}",
            cure="put it there, mode 0600, or name another file by PACHON_STORE_PASSWORD_FILE",
        ) from error


def _parsed(address: str) -> URL:
    cure = "such as postgresql://pachon@db.example.org/pachon; without PACHON_STORE the store is a file of its own"
    try:
        url = sqlalchemy.make_url(address)
    except sqlalchemy.exc.ArgumentError:
        raise UsageError("the address of the store cannot be read", cure=cure) from None  # it names the address
    if url.password is not None or "password" in url.query:
        raise UsageError(
            "the address of the store has a password in it",
            cure="put the password into a file, mode 0600, and name that by PACHON_STORE_PASSWORD_FILE",
        )
    if url.get_backend_name() != "postgresql":
        raise UsageError(f"the store cannot be kept in {url.get_backend_name()}", cure=f"an address is {cure}")
    return url


def _one(url: URL, name: str) -> str:
    value = url.query.get(name, "")
    return value if isinstance(value, str) else value[-1]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _reads_only(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(READS_ONLY))
