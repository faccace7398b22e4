"""What a database complains of, in our words: what is full, damaged, busy or forbidden, and what mends it."""

import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError

from pachon.errors import PachonError, PermanentError, TemporaryError

STAYS = "what was committed before stays"
FULL = "make room on its disk and run again: " + STAYS
DAMAGED = "'pachon store restore FILE --replace' puts it aside and has the last backup in its place"
FORBIDDEN = "look at who owns it, at its rights, and whether its file system may be written to"
_SQLITE = {
    sqlite3.SQLITE_BUSY: (TemporaryError, "is being written to by somebody else, too long", "run again"),
    sqlite3.SQLITE_CANTOPEN: (PermanentError, "cannot be opened", FORBIDDEN),
    sqlite3.SQLITE_CORRUPT: (PermanentError, "is damaged", DAMAGED),
    sqlite3.SQLITE_FULL: (TemporaryError, "has no room left", FULL),
    sqlite3.SQLITE_IOERR: (TemporaryError, "cannot be written to its disk", FULL),
    sqlite3.SQLITE_NOTADB: (PermanentError, "is damaged", DAMAGED),
    sqlite3.SQLITE_PERM: (PermanentError, "may not be written to", FORBIDDEN),
    sqlite3.SQLITE_READONLY: (PermanentError, "may not be written to", FORBIDDEN),
}
_SQLSTATES = {
    "22": (PermanentError, "does not take what it was given", "tell those who maintain Pachon"),
    "28": (PermanentError, "does not let us in", "look at the user in PACHON_STORE and at the file with its password"),
    "3D": (PermanentError, "is not there", "have the database made: 'createdb'"),
    "42501": (PermanentError, "lacks rights for us", "grant us CREATE on the database, or the schema"),
    "53": (TemporaryError, "has no room left", FULL),
    "XX": (PermanentError, "is damaged", "have its server looked at, or restore the last backup"),
}
"""By the five letters of an SQLSTATE, or the two of its class."""


def explained(error: DBAPIError, where: str) -> PachonError | None:
    """The error for people; None where it is a mistake of our own, which is to be seen as it is."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        found = _SQLITE.get(code)
        if found is None and "decode" in str(cause):  # text that is none: the page under it was overwritten
            found = _SQLITE[sqlite3.SQLITE_CORRUPT]
    else:
        state = str(getattr(cause, "sqlstate", None) or "")
        found = _SQLSTATES.get(state) or _SQLSTATES.get(state[:2])
        if found is None and not state and "password" in str(cause):
            found = _SQLSTATES["28"]
    if found is not None:
        kind, what, cure = found
        return kind(f"the store {where} {what}: {_short(cause)}", cure=cure)
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return TemporaryError(
            f"the store {where} does not answer: {_short(cause)}", cure="look whether it is there, then run again"
        )
    return None


def damaged(where: str, what: str) -> PermanentError:
    """The error about a store that is not what it was when it was left."""
    return PermanentError(f"the store {where} is damaged: {what}", cure=DAMAGED)


def _short(cause: object) -> str:
    return " ".join(str(cause).split())[:300]
