"""The facility in a folder as it was examined before, while nothing has moved that it was made from.

It is kept in the facility's state folder, once there is one, under a digest of every file of the definition and of the
catalogue, of the program and of what it runs on. A process whose program text was touched since it began keeps none.
What is kept is a document, checked against its own digest and read as any other is: one that is gone, cut or garbled
costs time, and never a wrong facility.
"""

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from pachon import places, program_text
from pachon.model.facility import Facility, HostName, Serial

FACILITIES = places.CHECKOUT / "inventory" / "facilities"
CATALOGUE = places.CHECKOUT / "inventory" / "catalogue"
ROLES = places.CHECKOUT / "playbooks" / "roles"
FOLDER = "definition"
SHIPPED = re.compile(r"[a-z][a-z0-9-]*")
NAME_LINE = re.compile(r"^name:[ \t]*([a-z][a-z0-9-]*)[ \t]*$", re.MULTILINE)
NOBODY: Mapping[HostName, Serial] = {}


@dataclass(frozen=True)
class Defined:
    """A facility without complaints."""

    facility: Facility
    notes: tuple[str, ...]
    """What checks have to say that forbids nothing, for people."""


def find(name_or_path: str) -> Path:
    """Folder of a facility, as ``pachon.definition.find`` has it (errors as well)."""
    shipped = FACILITIES / name_or_path
    if SHIPPED.fullmatch(name_or_path) and (shipped / "facility.yaml").is_file():
        return shipped
    from pachon import definition

    return definition.find(name_or_path)


def load(folder: Path, *, existing: Mapping[HostName, Serial] = NOBODY) -> Defined:
    """The facility in a folder, checked; ``existing`` as of ``pachon.definition.load``.

    Raises:
        DefinitionError: with all complaints.
    """
    path = _path(folder, dealt=bool(existing))
    key = key_of(folder, existing) if path is not None else ""
    if path is not None and (kept := _kept(path, key)) is not None:
        return kept
    made = _examined(folder, existing)
    # Files that were changed meanwhile may have been read before or after that, and so may modules.
    is_of_key = bool(key) and key == key_of(folder, existing)
    if path is not None and is_of_key and program_text.is_what_runs(program_text.CONTROL_LAYER):
        with suppress(OSError):
            _keep(made, path, key)
    return made


def _examined(folder: Path, existing: Mapping[HostName, Serial]) -> Defined:
    from pachon.checks import check
    from pachon.definition import catalogue, loading

    facility = loading.load(folder, existing=existing)
    services = catalogue.read(loading.catalogue_of(folder)).services
    notes = (f"{note.address}: {note.message}; {note.cure}" for note in check(facility, services))
    return Defined(facility, tuple(notes))


def key_of(folder: Path, existing: Mapping[HostName, Serial]) -> str:
    """Digest of all that the facility is made from; empty where something of it cannot be read."""
    beside = folder.resolve().parents[1:2]
    catalogues = [CATALOGUE, *(parent / "catalogue" for parent in beside)]
    try:
        files = [
            [str(path), _digest(path)]
            for top in (folder / "facility.yaml", folder / "sites", *catalogues)
            for path in entries(top)
        ]
        roles = sorted(path.name for path in ROLES.glob("*") if path.is_dir())
    except OSError:
        return ""
    program = [program_text.version(program_text.CONTROL_LAYER), sys.version, pydantic.VERSION]
    return _digest_of([str(folder.resolve()), files, roles, sorted(existing.items()), program])


def entries(top: Path) -> Iterator[Path]:
    """It and all in it, through links to folders as well, each folder once."""
    yield top
    seen: set[str] = set()
    for within, folders, files in os.walk(top, followlinks=True, onerror=_raised):
        yield from (Path(within) / name for name in sorted((*folders, *files)))
        seen.add(os.path.realpath(within))
        folders[:] = sorted(name for name in folders if os.path.realpath(f"{within}/{name}") not in seen)


def _raised(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _digest(path: Path) -> str:
    """Of a file; of anything else what it is."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{'folder' if path.is_dir() else 'nothing'} {path.resolve() if path.is_symlink() else ''}"


def _digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _path(folder: Path, *, dealt: bool) -> Path | None:
    """Where the facility of this folder is kept; None where nothing of it stands here, or its name is not plain."""
    try:
        named = NAME_LINE.findall((folder / "facility.yaml").read_text(errors="replace"))
    except OSError:
        return None
    state = places.state(named[0]) if len(named) == 1 else None
    if state is None or not state.is_dir():
        return None
    return state / FOLDER / ("dealt.json" if dealt else "plain.json")


def _kept(path: Path, key: str) -> Defined | None:
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        told = json.loads(head)
        if not key or told["key"] != key or told["body"] != hashlib.sha256(body).hexdigest():
            return None
        return Defined(Facility.model_validate_json(body), tuple(told["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(made: Defined, path: Path, key: str) -> None:
    body = made.facility.model_dump_json().encode()
    if Facility.model_validate_json(body) != made.facility:
        return
    head = {"key": key, "body": hashlib.sha256(body).hexdigest(), "notes": made.notes}
    path.parent.mkdir(mode=0o700, exist_ok=True)
    for left in path.parent.glob(".draft-*"):  # by who was killed; who is at it now goes without
        left.unlink()
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")  # for its owner alone
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + body)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
