"""Secrets that are generated once and kept in a facility's state, each in a file of its own that only we may read.

Roles are told a secret's *name*; the lookup plug-in ``pachon_secret`` reads the file when a task needs it, so that no
secret is ever in a variable of the inventory, an argument list, an environment, a receipt or a plan.
"""

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pachon.errors import MissingError, PermanentError

FOLDER = "secrets"
KEY_OF_DIGESTS = "digests"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,98}")


def path_of(state: Path, name: str) -> Path:
    """The file of a secret.

    Raises:
        PermanentError: the name is none.
    """
    if not _NAME.fullmatch(name):
        raise PermanentError(f"{name!r} is no name of a secret", cure="take lower case letters, digits, '-' and '.'")
    return state / FOLDER / name


def ensure(state: Path, name: str, size: int) -> Path:
    """The file of a secret, made from so many random bytes (as text, base64url) if it is not there.

    What is there is never replaced, also when two writers come at once: the first wins.
    """
    path = path_of(state, name)
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(size))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return path


def key_of_digests(state: Path) -> bytes:
    """The key of all digests of secrets in this state."""
    return ensure(state, KEY_OF_DIGESTS, 32).read_bytes()


def digests(state: Path, names: Iterable[str]) -> dict[str, str]:
    """A digest of each secret's content, keyed with a secret of this state so that nobody can guess from it.

    Raises:
        MissingError: one of them was not made.
    """
    key = key_of_digests(state)
    told = {}
    for name in sorted(names):
        try:
            content = path_of(state, name).read_bytes()
        except FileNotFoundError as error:
            raise MissingError(
                f"the secret {name!r} is not in {state / FOLDER}", cure="'pachon up' makes it"
            ) from error
        told[name] = hmac.new(key, content, hashlib.sha256).hexdigest()
    return told
