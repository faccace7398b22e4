"""The files of a facility's folder, read and typed as far as they can be, each thing with its path and line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from pachon.checks.spelling import did_you_mean
from pachon.definition.documents import EVERYTHING, Document, Location, read_document
from pachon.definition.tables import Table, read_table
from pachon.definition.wording import complain, worth_telling
from pachon.definition.written import NAME, Written, WrittenFacility, WrittenSite
from pachon.definition.written_rows import TABLES, CableRow, DiskRow, MachineRow, NicRow
from pachon.errors import Complaint

Model = TypeVar("Model", bound=Written)

SITE_FILES = ("site.yaml", *sorted(TABLES))
READ_SUFFIXES = frozenset({".csv", ".yaml", ".yml"})
"""Files with such names are taken to be meant as a part of the definition."""


@dataclass
class Typed(Generic[Model]):
    """A YAML file as its type, without the items that were wrong."""

    document: Document
    value: Model | None = None
    kept: dict[str, list[int]] = field(default_factory=dict)
    """For each list that lost items: where the ones that are left stood."""
    broken: set[str] = field(default_factory=set)
    """Names of the items left out."""

    def line(self, key: str, *location: str | int) -> int:
        """Line of something in a list of the file: ``line("hosts", 3, "address")``."""
        if location and isinstance(location[0], int) and key in self.kept:
            location = (self.kept[key][location[0]], *location[1:])
        return self.document.line((key, *location))


@dataclass
class SiteSources:
    """What one site's folder says."""

    name: str
    site: Typed[WrittenSite]
    machines: Table[MachineRow]
    nics: Table[NicRow]
    disks: Table[DiskRow]
    cables: Table[CableRow]

    @property
    def complaints(self) -> list[Complaint]:
        """Complaints of all files of the site."""
        parts = (self.site.document, self.machines, self.nics, self.disks, self.cables)
        return [complaint for part in parts for complaint in part.complaints]

    @property
    def broken(self) -> set[str]:
        """Names of what was left out."""
        lost = self.site.broken | self.machines.broken | self.nics.broken | self.disks.broken
        if any(not table.rows and table.complaints for table in (self.machines, self.nics, self.disks)):
            lost |= {EVERYTHING}
        return lost


@dataclass
class Sources:
    """What a facility's folder says."""

    facility: Typed[WrittenFacility]
    sites: dict[str, SiteSources]
    strays: list[Complaint] = field(default_factory=list)
    """About files that nothing reads."""

    @property
    def complaints(self) -> list[Complaint]:
        """Complaints of all files."""
        own = [*self.facility.document.complaints, *self.strays]
        return own + [complaint for site in self.sites.values() for complaint in site.complaints]

    @property
    def broken(self) -> set[str]:
        """Names of what was left out anywhere."""
        return self.facility.broken.union(*(site.broken for site in self.sites.values()))


def shown_path(path: Path) -> str:
    """The path as a person at this prompt would write it: relative to the working folder where it lies inside."""
    try:
        return path.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except (ValueError, OSError, RuntimeError):
        return path.as_posix()


def _name_in(item: object) -> str:
    """The name by which others would refer to an item that cannot be used."""
    if isinstance(item, Mapping):
        return str(item.get("name") or item.get("enclave") or "")
    return str(item)


def _without(typed: Typed[Model], value: dict[str, object], locations: list[Location]) -> dict[str, object]:
    """The value without the items (or optional keys) that errors point into."""
    bad: dict[str, set[int]] = {}
    dropped: set[str] = set()
    for location in locations:
        key = str(location[0]) if location else ""
        items = value.get(key)
        if len(location) > 1 and isinstance(location[1], int) and isinstance(items, list):
            bad.setdefault(key, set()).add(location[1])
        else:
            dropped.add(key)
    if dropped & set(value):
        typed.broken.add(EVERYTHING)
    left = {key: item for key, item in value.items() if key not in dropped}
    for key, indexes in bad.items():
        items = left.get(key)
        if isinstance(items, list):
            typed.broken.update(_name_in(items[index]) for index in indexes)
            typed.kept[key] = [index for index in range(len(items)) if index not in indexes]
            left[key] = [items[index] for index in typed.kept[key]]
    return left


def typed(document: Document, model: type[Model]) -> Typed[Model]:
    """The document as its type; what is wrong is complained about in the document and left out."""
    result: Typed[Model] = Typed(document)
    if document.value is None:
        result.broken.add(EVERYTHING)
        return result
    try:
        result.value = model.model_validate(document.value)
        return result
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in worth_telling(model, details):
        wrong, right = complain(model, detail)
        document.complain(document.line(detail["loc"]), wrong, right=right)
    left = _without(result, document.value, [detail["loc"] for detail in details])
    try:
        result.value = model.model_validate(left)
    except ValidationError:
        result.broken.add(EVERYTHING)
    return result


def read_site(folder: Path, name: str) -> SiteSources:
    """What the folder of one site says."""

    def shown(file: str) -> str:
        return shown_path(folder) + "/" + file

    return SiteSources(
        name=name,
        site=typed(read_document(folder / "site.yaml", shown("site.yaml")), WrittenSite),
        machines=read_table(folder / "machines.csv", shown("machines.csv"), MachineRow),
        nics=read_table(folder / "nics.csv", shown("nics.csv"), NicRow),
        disks=read_table(folder / "disks.csv", shown("disks.csv"), DiskRow),
        cables=read_table(folder / "cables.csv", shown("cables.csv"), CableRow),
    )


def read_sources(folder: Path) -> Sources:
    """What a facility's folder says."""
    shown = shown_path(folder)
    document = read_document(folder / "facility.yaml", f"{shown}/facility.yaml")
    facility = typed(document, WrittenFacility)
    sites: dict[str, SiteSources] = {}
    document_sites = _site_names(document, facility)
    for index, name in enumerate(document_sites):
        if name in sites:
            line = facility.line("sites", index)
            document.complain(line, f"the site {name!r} stands twice", right="keep one of them")
        elif not (folder / "sites" / name).is_dir():
            near = did_you_mean(name, {path.name for path in folder.glob("sites/*")})
            right = near or f"create it, with site.yaml, {', '.join(TABLES)} in it"
            document.complain(facility.line("sites", index), f"there is no folder sites/{name}", right=right)
            facility.broken.add(name)
        else:
            sites[name] = read_site(folder / "sites" / name, name)
    lost = facility.broken & {*document_sites, EVERYTHING} or list(document_sites) != (document.value or {}).get(
        "sites"
    )
    strays = [] if lost else _strays(folder, shown, document_sites)
    return Sources(facility, sites, strays)


def _strays(folder: Path, shown: str, sites: tuple[str, ...]) -> list[Complaint]:
    """Complaints about folders of sites, and tables and YAML files in them, that nothing reads."""
    found: list[Complaint] = []
    for path in sorted((folder / "sites").glob("*")):
        if path.name.startswith("."):
            continue
        if path.name not in sites:
            right = "add its site to sites in facility.yaml, or remove it"
            found.append(Complaint(f"{shown}/sites/{path.name}", 1, "nothing reads this", right))
            continue
        for file in sorted(path.glob("*")):
            if file.suffix in READ_SUFFIXES and file.name not in SITE_FILES:
                right = did_you_mean(file.name, SITE_FILES) or f"the files of a site are {', '.join(SITE_FILES)}"
                found.append(Complaint(f"{shown}/sites/{path.name}/{file.name}", 1, "nothing reads this file", right))
    return found


def _site_names(document: Document, facility: Typed[WrittenFacility]) -> tuple[str, ...]:
    """Names of the sites, also when something else in the file is wrong."""
    if facility.value is not None:
        return facility.value.sites
    written = (document.value or {}).get("sites")
    names = written if isinstance(written, list) else []
    return tuple(name for name in names if isinstance(name, str) and re.fullmatch(NAME, name))
