"""Starts the lab's own long-lived processes: own session, bare environment, and word when they are ready."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from pachon import places
from pachon.errors import PermanentError, TemporaryError


def environment() -> dict[str, str]:
    """The environment of every process of the lab: nothing of the caller's but where programs are."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": "/"}


def start(
    module: str, argument: Path, *, log: Path, timeout: timedelta, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """The process ``python -m module argument``, which has told that it is ready.

    Raises:
        PermanentError: it told what is wrong, or ended without a word (see ``log``).
        TemporaryError: it told nothing in time.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, str(argument), str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment(), **places.imports()},
                cwd="/",
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        writing = -1
        said = _listen(reading, timeout.total_seconds())
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if said is None:
        raise TemporaryError(f"{module} did not tell within {timeout.total_seconds():g} s", cure=f"see {log}")
    if said != "on":
        raise PermanentError(
            f"{module} {said or 'ended without a word'} ({argument})", cure=f"see {log} and the console beside it"
        )
    return process


def _listen(reading: int, seconds: float) -> str | None:
    said = b""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([reading], [], [], left)
        if not ready:
            return None
        chunk = os.read(reading, 4096)
        said += chunk
        if not chunk:
            return said.decode(errors="replace")
    return None
