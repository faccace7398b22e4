"""One server a site: a lock that dies with its process, and a socket for its owner alone."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from pachon.errors import PermanentError, RefusedError
from pachon.layers import served
from pachon.model.base import Frozen
from pachon.processes.holder import this_process
from pachon.processes.sockets import short_path

BACKLOG = 64


class Holding(Frozen):
    """Who serves a site."""

    holder: str
    since: datetime


@contextmanager
def held(state: Path, site: str) -> Iterator[tuple[socket.socket, Holding]]:
    """The site's socket, listening, and what stands in its lock; both are given back at the end of the block.

    Raises:
        RefusedError: another process serves the site.
    """
    folder = served.folder(state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{site}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(path, site) from None
        own = Holding(holder=str(this_process()), since=datetime.now(UTC))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, own.model_dump_json().encode(), 0)
        with _listening(state, site) as listener:
            yield listener, own
    finally:
        os.close(descriptor)


@contextmanager
def _listening(state: Path, site: str) -> Iterator[socket.socket]:
    """A socket at the site's path, in the place of one that a killed server left."""
    path = served.socket_path(state, site)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with short_path(path) as name:
                listener.bind(name)
        except OSError as error:
            raise PermanentError(f"cannot listen at {path}: {error.strerror}", cure="see who owns it") from error
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _taken(path: Path, site: str) -> RefusedError:
    try:
        told = Holding.model_validate_json(path.read_bytes())
        who = f"{told.holder} since {told.since:%Y-%m-%d %H:%M:%S} UTC"
    except (OSError, ValidationError):
        who = "another process"
    return RefusedError(f"site {site!r} is served by {who}", cure="commands use that one; end it to serve it from here")
