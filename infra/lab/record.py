"""Which labs this machine carries, and whose each is: ``/run/pachon/<facility>.json``.

Written before anything of a lab is made and removed after the last of it is gone, so what a killed machine or a hand
left behind always has an owner on record.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from infra.lab import cgroups, ip, kernel, names
from pachon.errors import RefusedError
from pachon.model.base import Frozen

RUN = Path("/run/pachon")
NETNS_MADE = "netns-mount-is-ours"


class Record(Frozen):
    """A lab on this machine."""

    facility: str
    state: Path
    """State folder of the facility that owns the lab."""
    signature: str
    """Digest of the networks that the lab was made with."""
    namespaces: tuple[str, ...]
    """Its lasting namespaces."""


def _path(facility: str) -> Path:
    return RUN / f"{facility}.json"


@contextlib.contextmanager
def locked(facility: str) -> Iterator[None]:
    """Within the block nobody else brings this lab up or down."""
    path = RUN / f"{facility}.lock"
    while True:
        RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                break
            os.close(handle)
    try:
        yield
    finally:
        if not _path(facility).exists():
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                RUN.rmdir()
        os.close(handle)


def read(facility: str) -> Record | None:
    """The record of the lab of that name; None if this machine carries none."""
    try:
        return Record.model_validate_json(_path(facility).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def write(record: Record) -> None:
    """Put the lab on record."""
    partial = _path(record.facility).with_suffix(".part")
    partial.write_text(record.model_dump_json())
    partial.replace(_path(record.facility))


def forget(facility: str) -> None:
    """Take the lab off the record."""
    _path(facility).unlink(missing_ok=True)


def others(facility: str) -> list[str]:
    """Names of the other labs on record."""
    return sorted(path.stem for path in RUN.glob("*.json") if path.stem != facility)


def own_namespaces(facility: str, mark: str) -> list[str]:
    """Namespaces that bear the lab's name and mark; without a mark, those that are on record or a machine's."""
    found: list[str] = []
    known = read(facility)
    recorded = known.namespaces if known is not None and names.mark(facility, known.state) == mark else ()
    if kernel.NETNS_FOLDER.is_dir():
        for path in sorted(kernel.NETNS_FOLDER.iterdir()):
            if path.name.startswith((f"{facility}-", f"{facility}.")):
                loopback = ip.show("link", "show", "lo", namespace=path.name)
                alias = loopback[0].get("ifalias") if loopback else None
                half_made = alias is None and (path.name in recorded or path.name.startswith(f"{facility}."))
                if alias == mark or half_made:
                    found.append(path.name)
    return found


def refuse_strangers(facility: str, state: Path) -> None:
    """Nothing, if no other owner has a lab of this name here.

    Raises:
        RefusedError: a lab of this name belongs to another state folder, and something of it is still there.
    """
    record = read(facility)
    if record is None or record.state == state:
        return
    mark = names.mark(facility, record.state)
    if cgroups.lab(facility).populated() or own_namespaces(facility, mark) or (record.state / "lab").exists():
        raise RefusedError(
            f"a lab called {facility!r} is up here and belongs to {record.state}",
            cure=f"take it down from its own checkout (PACHON_STATE={record.state.parent}), or rename the facility",
        )


@contextlib.contextmanager
def changing_namespaces() -> Iterator[None]:
    """Within the block no other lab makes its first namespace, or removes the folder after its last."""
    handle = os.open("/run", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def note_netns_mount() -> None:
    """Remember that the mount at /run/netns will be of our making, if it is not there yet."""
    if not os.path.ismount(kernel.NETNS_FOLDER):
        (RUN / NETNS_MADE).touch()


def remove_netns_mount(facility: str) -> None:
    """Take away the mount at /run/netns when we made it and nobody uses it any more."""
    made = RUN / NETNS_MADE
    if made.exists() and not others(facility) and kernel.NETNS_FOLDER.is_dir():
        if any(kernel.NETNS_FOLDER.iterdir()):
            return
        with contextlib.suppress(OSError):
            kernel.unmount(kernel.NETNS_FOLDER)
            kernel.NETNS_FOLDER.rmdir()
        made.unlink()
