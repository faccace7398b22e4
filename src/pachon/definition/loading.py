"""The way in: a facility by name or path, examined, and loaded when nothing is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pachon import places
from pachon.checks import Note, check
from pachon.checks.notes import ANYTHING
from pachon.checks.spelling import did_you_mean
from pachon.definition.catalogue import CATALOGUE
from pachon.definition.catalogue import read as read_catalogue
from pachon.definition.documents import EVERYTHING
from pachon.definition.lines import Lines
from pachon.definition.manifests import placed_manifests
from pachon.definition.resolving import resolve
from pachon.definition.sources import Sources, read_sources, shown_path
from pachon.definition.wording import shown
from pachon.definition.written import NAME
from pachon.errors import Complaint, DefinitionError, UsageError
from pachon.model.facility import Facility, HostName, Placement, Serial
from pachon.model.service import Service

FACILITIES = places.CHECKOUT / "inventory" / "facilities"
NO_HOSTS: Mapping[HostName, Serial] = {}


@dataclass(frozen=True)
class Examined:
    """A facility's files after the whole examination."""

    facility: Facility | None
    """Usable only when there are no complaints."""
    complaints: tuple[Complaint, ...]
    warnings: tuple[Complaint, ...] = ()
    """What is allowed and yet worth a look."""


def find(name_or_path: str) -> Path:
    """Folder of a facility: one under ``inventory/facilities`` by its name, or any by its path.

    Raises:
        UsageError: there is no such facility.
    """
    path = Path(name_or_path)
    named = FACILITIES / name_or_path
    if re.fullmatch(NAME, name_or_path) and _is_facility(named):
        return named
    if path.name == "facility.yaml" and _is_facility(path.parent):
        return path.parent
    if _is_facility(path):
        return path
    known = sorted(folder.name for folder in FACILITIES.glob("*") if (folder / "facility.yaml").is_file())
    near = did_you_mean(name_or_path, known)
    raise UsageError(
        f"there is no facility {shown(name_or_path)}",
        cure=near or f"give one of {', '.join(known)}, or the path of a folder that holds a facility.yaml",
    )


def _is_facility(folder: Path) -> bool:
    """Whether there is a facility.yaml in the folder; also told of paths that no file system takes."""
    try:
        return (folder / "facility.yaml").is_file()
    except (OSError, ValueError):
        return False


def examine(path: Path, *, existing: Mapping[HostName, Serial] = NO_HOSTS) -> Examined:
    """The facility in a folder together with every complaint about its files."""
    folder = path.parent if path.name == "facility.yaml" else path
    if not folder.is_dir():
        nothing = Complaint(shown_path(folder), 1, "there is no such folder", "give the folder of a facility")
        return Examined(None, (nothing,))
    sources = read_sources(folder)
    resolved = resolve(sources, existing)
    catalogue = read_catalogue(catalogue_of(folder))
    complaints = [*sources.complaints, *resolved.complaints, *catalogue.complaints]
    warnings: list[Complaint] = []
    facility, of_manifests = _offering(resolved.facility, catalogue.services, catalogue_of(folder))
    complaints += of_manifests
    if facility is not None:
        notes = check(facility, None if catalogue.complaints else catalogue.services)
        if told := [note for note in notes if not _follows(note, sources)]:
            lines = Lines(sources, facility)
            for note in told:
                (warnings if note.severity == "warning" else complaints).append(lines.complaint(note))
    return Examined(facility, tuple(sorted(set(complaints))), tuple(sorted(set(warnings))))


def _offering(
    facility: Facility | None, services: Mapping[str, Service], catalogue: Path
) -> tuple[Facility | None, list[Complaint]]:
    """The facility with what the catalogue says of services that it places, and what is wrong with their manifests."""
    if facility is None:
        return None, []
    placed: list[Placement] = []
    complaints: list[Complaint] = []
    for each in facility.placements:
        service = services.get(each.service)
        if service is None:
            placed.append(each)
            continue
        manifests, told = placed_manifests(service, catalogue, enclave=each.enclave)
        complaints += told
        placed.append(each.model_copy(update={"offer": service.offer, "manifests": manifests}))
    return facility.model_copy(update={"placements": tuple(placed)}), complaints


def catalogue_of(folder: Path) -> Path:
    """The catalogue beside a facility (``../../catalogue``), or else the one that ships."""
    beside = folder.resolve().parents[1] / "catalogue" if len(folder.resolve().parents) > 1 else CATALOGUE
    return beside if beside.is_dir() else CATALOGUE


def _follows(note: Note, sources: Sources) -> bool:
    """Whether a note only follows from something left out, which has its own complaint."""
    if note.missing == ANYTHING:
        return bool(sources.broken)
    return bool(note.missing) and (note.missing in sources.broken or EVERYTHING in sources.broken)


def load(path: Path, *, existing: Mapping[HostName, Serial] = NO_HOSTS) -> Facility:
    """The facility in a folder, checked.

    ``existing`` says which host of which pool is on which machine now, so that they stay there.

    Raises:
        DefinitionError: with all complaints.
    """
    examined = examine(path, existing=existing)
    if examined.complaints or examined.facility is None:
        raise DefinitionError(examined.complaints)
    return examined.facility
