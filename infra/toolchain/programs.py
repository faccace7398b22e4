"""Where the programs from outside are: on PATH in the pinned version, or in our cache (``obtain`` makes them)."""

import hashlib
import json
import os
import platform
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from infra.toolchain import children
from pachon import places
from pachon.errors import MissingError, PachonError

TABLE = Path(__file__).with_name("programs.toml")
SOURCES = ("go.mod", "go.sum", "main.go")
"""What a program of our own is made from."""
Origin = Literal["path", "cache", "release", "modules"]


@dataclass(frozen=True)
class Release:
    """An archive that the program's makers publish for one kind of processor."""

    url: str
    sha256: str
    """Empty: not known, and then the release is never used."""
    folder: str
    """The folder inside the archive that holds the program."""


@dataclass(frozen=True)
class Program:
    """A program from outside in the one version that we use."""

    name: str
    version: str
    version_arguments: tuple[str, ...]
    version_pattern: str
    """Finds the version, as its first group, in what the program prints for ``version_arguments``."""
    module: str
    """The Go package it is built from; empty: there is none."""
    ldflags: str
    releases: Mapping[str, Release]
    """By processor, in the kernel's words (``x86_64``)."""
    sources: str = ""
    """Folder, below this one, of a program of our own with a go.mod of its own; empty: the module is another's."""
    on_demand: bool = False
    """Whether it is made only when it is asked for: set-up passes over it."""

    @property
    def folder(self) -> Path:
        """Where the go.mod that it is built by is."""
        return TABLE.parent / self.sources

    @property
    def release(self) -> Release | None:
        """The release for this machine's processor."""
        return self.releases.get(platform.machine())


@dataclass(frozen=True)
class Found:
    """A program that is there."""

    path: Path
    version: str
    origin: Origin


def table(path: Path = TABLE) -> dict[str, Program]:
    """Every program of programs.toml by name."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _program(name, row) for name, row in rows.items()}


def _program(name: str, row: dict[str, object]) -> Program:
    version = str(row["version"])
    releases = row.get("releases", {})
    arguments = row["version_arguments"]
    assert isinstance(releases, dict)
    assert isinstance(arguments, list)
    return Program(
        name=name,
        version=version,
        version_arguments=tuple(str(argument) for argument in arguments),
        version_pattern=str(row["version_pattern"]),
        module=str(row.get("module", "")),
        ldflags=str(row.get("ldflags", "")).format(version=version),
        releases={
            processor: Release(
                url=str(release["url"]).format(version=version),
                sha256=str(release.get("sha256", "")),
                folder=str(release.get("folder", "")),
            )
            for processor, release in releases.items()
        },
        sources=str(row.get("sources", "")),
        on_demand=bool(row.get("on_demand", False)),
    )


def find(name: str) -> Path:
    """The path of a program of the table, in its pinned version.

    Raises:
        MissingError: it is neither on PATH in that version nor in the cache.
    """
    program = table()[name]
    found = look(program, cache=places.cache().absolute())
    if found is None:
        target = f"program-{name}" if program.on_demand else "setup"
        raise MissingError(
            f"{name} {program.version} is neither on PATH nor in the cache", cure=f"'make {target}' finds or builds it"
        )
    return found.path


def look(program: Program, *, cache: Path) -> Found | None:
    """The program as it is on PATH (if it is the pinned version) or in our cache, or nothing.

    One of our own is looked for in the cache only: what has its name on PATH is somebody else's.
    """
    on_path = None if program.sources else shutil.which(program.name)
    if on_path and version_of(program, Path(on_path), cache=cache) == program.version:
        return Found(path=Path(on_path), version=program.version, origin="path")
    cached = home(program, cache=cache) / program.name
    if os.access(cached, os.X_OK):
        return Found(path=cached, version=program.version, origin="cache")
    return None


def home(program: Program, *, cache: Path) -> Path:
    """The folder of the cache that holds the program, once it is there: it appears whole or not at all."""
    digest = f"-{_sources_digest(program)}" if program.sources else ""
    return cache / "bin" / f"{program.name}-{program.version}{digest}"


def _sources_digest(program: Program) -> str:
    whole = hashlib.sha256(program.ldflags.encode())
    for name in SOURCES:
        whole.update((program.folder / name).read_bytes())
    return whole.hexdigest()[:8]


def version_of(program: Program, path: Path, *, cache: Path | None = None) -> str:
    """The version that the file at ``path`` says it has; empty if it does not say.

    With a cache, an answer is remembered for as long as the file stays as it is.
    """
    status = path.stat()
    memory = cache / "versions.json" if cache else None
    key = f"{path}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
    known = _recall(memory)
    if key in known:
        return known[key]
    try:
        said = children.run((str(path), *program.version_arguments), timeout=timedelta(seconds=30)).stdout
    except PachonError:
        said = ""
    match = re.search(program.version_pattern, said, re.MULTILINE)
    version = match.group(1) if match else ""
    if memory:
        memory.parent.mkdir(parents=True, exist_ok=True)
        new = memory.with_name(f"{memory.name}.{os.getpid()}")
        new.write_text(json.dumps({**known, key: version}, indent=1), encoding="utf-8")
        new.replace(memory)
    return version


def _recall(memory: Path | None) -> dict[str, str]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8")) if memory else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
