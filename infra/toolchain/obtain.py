"""Brings a program from outside onto this machine, by the first way that works: release, then modules."""

import shutil
from pathlib import Path

from infra.toolchain import locks, modules, release
from infra.toolchain.programs import Found, Origin, Program, home, look, version_of
from pachon.errors import MissingError, PachonError, PermanentError
from pachon.progress import Event, Progress


def obtain(program: Program, *, cache: Path, progress: Progress) -> Found:
    """The program, found or made; made at most once, however many ask at the same time.

    Raises:
        MissingError: no way worked; says why, way by way.
    """
    if found := look(program, cache=cache):
        return found

    def on_wait(message: str) -> None:
        progress(Event(stage="toolchain", address=program.name, state="moving", message=message))

    with locks.held(cache / "locks" / f"{program.name}.lock", on_wait):
        return look(program, cache=cache) or _make(program, cache=cache, progress=progress)


def _make(program: Program, *, cache: Path, progress: Progress) -> Found:
    reasons: list[str] = []
    ways: tuple[tuple[str, Origin], ...] = (
        ("the official release", "release"),
        ("a build from Go modules", "modules"),
    )
    for label, way in ways:
        if way == "release" and program.sources:
            continue
        try:
            return _by(way, program, cache=cache, progress=progress)
        except PachonError as error:
            reasons.append(f"{label}: {error}")
            progress(Event(stage="toolchain", address=program.name, state="moving", message=f"not by {reasons[-1]}"))
    raise MissingError(
        f"{program.name} {program.version} cannot be had: " + "; ".join(reasons),
        cure=("" if program.sources else f"put {program.name} {program.version} on PATH, or ")
        + "run again where one of these ways is open",
    )


def _by(way: Origin, program: Program, *, cache: Path, progress: Progress) -> Found:
    """The program made in one way. It shows up in the cache in one step, when it is whole and says its version."""
    target = home(program, cache=cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    making = target.with_name(f".{target.name}.making")  # ours alone: we hold the lock
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    archive: Path | None = None
    if way == "release":
        archive = _unpacked(program, making, cache=cache, progress=progress)
    else:
        if not program.module:
            raise PermanentError("it has no Go module")
        modules.build(program, into=making, cache=cache, progress=progress)
    said = version_of(program, making / program.name) if (making / program.name).is_file() else "nothing"
    if said != program.version:
        shutil.rmtree(making)
        raise PermanentError(f"what came says that its version is {said or 'unknown'}, not {program.version}")
    shutil.rmtree(target, ignore_errors=True)
    making.rename(target)
    if archive:
        archive.unlink(missing_ok=True)
    return Found(path=target / program.name, version=program.version, origin=way)


def _unpacked(program: Program, making: Path, *, cache: Path, progress: Progress) -> Path:
    pinned = program.release
    if pinned is None:
        raise PermanentError("there is none for this processor")
    if not pinned.sha256:
        raise PermanentError("its SHA-256 is not pinned, so it is not trusted")
    archive = release.fetch(pinned, folder=cache / "downloads", address=program.name, progress=progress)
    progress(Event(stage="toolchain", address=program.name, state="moving", message="unpacking the official release"))
    release.unpack(archive, pinned, into=making)
    return archive
