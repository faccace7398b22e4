"""The checkout's ``.venv``: packages exactly as requirements.lock says, and the project itself, editable."""

import hashlib
import os
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Literal

from infra.toolchain import children, locks, modules, wheels
from infra.toolchain.wheels import SYSTEM_PYTHON
from pachon.errors import MissingError
from pachon.progress import Event, Progress

OLDEST_UV = (0, 5)
OLDEST_PYTHON = (3, 11)
SYNC_TIMEOUT = timedelta(minutes=30)


def ensure(checkout: Path, *, cache: Path, progress: Progress) -> bool:
    """Whether ``.venv`` had to be made or changed to be as the lock file says.

    Raises:
        MissingError: this machine's Python is too old, or uv cannot be had.
        PermanentError, TemporaryError: uv failed.
    """
    if is_current(checkout):
        return False

    def on_wait(message: str) -> None:
        progress(Event(stage="toolchain", address=".venv", state="moving", message=message))

    with locks.held(checkout / "build" / "venv.lock", on_wait):
        if is_current(checkout):
            return False
        _make(checkout, cache=cache, progress=progress)
    return True


def digest(checkout: Path) -> str:
    """What ``.venv`` is made from, as one digest."""
    whole = hashlib.sha256()
    for name in ("pyproject.toml", "requirements.lock"):
        whole.update((checkout / name).read_bytes())
    whole.update(f"{checkout} {os.path.realpath(SYSTEM_PYTHON)}".encode())
    return whole.hexdigest()


def is_current(checkout: Path) -> bool:
    """Whether ``.venv`` is as the lock file and pyproject.toml say now."""
    stamp = checkout / ".venv" / "pachon.stamp"
    python = checkout / ".venv" / "bin" / "python"
    return os.access(python, os.X_OK) and stamp.exists() and stamp.read_text(encoding="ascii") == digest(checkout)


def condition(checkout: Path) -> Literal["current", "stale", "missing"]:
    """Whether ``.venv`` is right, was made before those files changed, or is not there whole."""
    if is_current(checkout):
        return "current"
    return "stale" if (checkout / ".venv" / "pachon.stamp").exists() else "missing"


def _make(checkout: Path, *, cache: Path, progress: Progress) -> None:
    venv = checkout / ".venv"
    stamp, unfinished = venv / "pachon.stamp", venv / "pachon.unfinished"
    _check_python()
    uv = installer(cache=cache, progress=progress)
    environment = children.variables(UV_CACHE_DIR=str(cache / "uv"), UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never")

    def run(message: str, *argv: str) -> None:
        progress(Event(stage="toolchain", address=".venv", state="moving", message=message))
        children.run((str(uv), *argv), timeout=SYNC_TIMEOUT, environment=environment, folder=checkout)

    python = venv / "bin" / "python"
    if unfinished.exists() or not stamp.exists() or not os.access(python, os.X_OK):
        shutil.rmtree(venv, ignore_errors=True)  # one cut short may hold half a package that looks whole
        run("making it", "venv", "--quiet", "--python", SYSTEM_PYTHON, str(venv))
    unfinished.touch()
    stamp.unlink(missing_ok=True)
    run(
        "packages of requirements.lock",
        *("pip", "sync", "--quiet", "--python", str(python), "--require-hashes", "requirements.lock"),
    )
    run(
        "the project itself, editable",
        *("pip", "install", "--quiet", "--python", str(python)),
        *("--no-deps", "--no-build-isolation", "--editable", "."),
    )
    unfinished.unlink()
    new = stamp.with_name("pachon.stamp.new")
    new.write_text(digest(checkout), encoding="ascii")
    new.replace(stamp)


def installer(*, cache: Path, progress: Progress) -> Path:
    """A fit uv: the one on PATH if it is new enough, else the pinned one from PyPI in our cache."""
    on_path = shutil.which("uv")
    if on_path:
        said = children.run((on_path, "--version"), timeout=timedelta(minutes=1), check=False)
        if said.status == 0 and modules.parsed(said.stdout) >= OLDEST_UV:
            return Path(on_path)
    return wheels.ensure("uv", cache=cache, progress=progress) / "bin" / "uv"


def _check_python() -> None:
    cure = f"install Python {modules.dotted(OLDEST_PYTHON)} or newer as {SYSTEM_PYTHON} (Debian 12 and later have it)"
    if not Path(SYSTEM_PYTHON).exists():
        raise MissingError(f"there is no {SYSTEM_PYTHON}", cure=cure)
    said = children.run((SYSTEM_PYTHON, "--version"), timeout=timedelta(minutes=1)).stdout
    match = re.search(r"Python (\S+)", said)
    version = modules.parsed(match.group(1)) if match else ()
    if version < OLDEST_PYTHON:
        raise MissingError(f"{SYSTEM_PYTHON} is {said.strip()}", cure=cure)
