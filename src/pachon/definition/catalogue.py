"""The catalogue of services: ``inventory/catalogue/<service>/service.yaml``, read and checked against itself."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pachon import places
from pachon.checks import services as rules
from pachon.checks.notes import Note
from pachon.checks.spelling import did_you_mean
from pachon.definition import rollouts
from pachon.definition.documents import read_document, read_text
from pachon.definition.manifests import read_manifests
from pachon.definition.sources import Typed, shown_path, typed
from pachon.definition.written_service import WrittenEndpoint, WrittenProbe, WrittenService
from pachon.errors import Complaint, DefinitionError
from pachon.model.probes import CommandProbe, HttpProbe, Probe, RoleProbe, SlurmProbe, TcpProbe, UnitProbe
from pachon.model.service import (
    Backup,
    Change,
    Deployment,
    Endpoint,
    Front,
    Hours,
    Kubernetes,
    Need,
    Objective,
    Owners,
    Recovery,
    Service,
)

CATALOGUE = places.CHECKOUT / "inventory" / "catalogue"
ROLES = places.CHECKOUT / "playbooks" / "roles"
RUNBOOK = "runbook.md"
FORMS = {"manifests": "*.yaml", "kustomize": "kustomization.yaml", "helm": "Chart.yaml"}
"""What has to lie in the folder of each form of what runs in Kubernetes."""


@dataclass(frozen=True)
class Read:
    """The catalogue as far as it could be read."""

    services: dict[str, Service]
    complaints: tuple[Complaint, ...]
    sources: dict[str, Typed[WrittenService]] = field(default_factory=dict)

    def complaint(self, note: Note) -> Complaint:
        """A note of ``pachon.checks.services`` with the path and line of what it is about."""
        source = self.sources[note.address]
        items = (note.occurrence,) if note.key in ("needs", "probes") else ()
        return Complaint(source.document.path, source.line(note.key, *items), note.message, note.cure)


def _probe(written: WrittenProbe) -> Probe:
    """The probe of its kind; that each has its keys was seen when it was read."""
    values = written.model_dump(exclude_none=True)
    match written.kind:
        case "tcp":
            return TcpProbe(**values)
        case "http":
            return HttpProbe(**{"status": 200, **values})
        case "unit":
            return UnitProbe(**values)
        case "slurm":
            return SlurmProbe(**values)
        case "command":
            return CommandProbe(**values)
        case "role":
            return RoleProbe(**values)


def _endpoint(written: WrittenEndpoint) -> Endpoint:
    front = written.front
    return Endpoint(
        name=written.name,
        port=written.port,
        front=Front(
            mode=front.mode,
            port=front.port or written.port,
            plain=front.plain or "",
            second_port=front.second_port or "",
        )
        if front
        else None,
    )


def _resolved(name: str, written: WrittenService, *, runbook: tuple[str, ...]) -> Service:
    change = written.change
    deployment = written.deployment
    kubernetes = deployment.kubernetes if deployment is not None else None
    return Service(
        name=name,
        title=written.title,
        numbers=written.numbers,
        group=written.group,
        also_serves=written.also_serves,
        sites=written.sites,
        enclaves=written.enclaves,
        tier=written.tier,
        state=written.state,
        hours=Hours(**written.hours.model_dump()) if written.hours else None,
        owners=Owners(**written.owners.model_dump()),
        operating=written.operating,
        stated=written.stated,
        needs=tuple(Need(**item.model_dump()) for item in written.needs),
        endpoints=tuple(_endpoint(item) for item in written.endpoints),
        probes=tuple(_probe(item) for item in written.probes),
        objectives=tuple(Objective(**item.model_dump()) for item in written.objectives),
        recovery_time=Recovery(**written.recovery_time.model_dump()) if written.recovery_time else None,
        recovery_point=Recovery(**written.recovery_point.model_dump()) if written.recovery_point else None,
        backup=Backup(**written.backup.model_dump()) if written.backup else None,
        cold_start=written.cold_start,
        cold_stop=written.cold_stop,
        change=Change(**change.model_dump()) if change else None,
        deployment=Deployment(
            roles=deployment.roles, kubernetes=Kubernetes(**kubernetes.model_dump()) if kubernetes else None
        )
        if deployment is not None
        else None,
        lacks=written.lacks,
        runbook=runbook,
        proof=written.proof,
    )


def _headings(folder: Path, complaints: list[Complaint]) -> tuple[str, ...]:
    """Headings of a service's runbook under which something stands."""
    path = folder / RUNBOOK
    text = read_text(path, f"{shown_path(folder)}/{RUNBOOK}", complaints) if path.exists() else None
    if text is None:
        return ()
    parts = re.split(r"^## +(.+?) *$", text, flags=re.MULTILINE)
    return tuple(title for title, below in zip(parts[1::2], parts[2::2], strict=True) if below.strip()) or ("",)


def read(folder: Path = CATALOGUE) -> Read:
    """All services, by name, and everything wrong with their files."""
    services: dict[str, Service] = {}
    sources: dict[str, Typed[WrittenService]] = {}
    complaints: list[Complaint] = []
    numbered: dict[int, str] = {}
    broken: set[str] = set()
    for path in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []:
        source = typed(read_document(path / "service.yaml", shown_path(path) + "/service.yaml"), WrittenService)
        complaints += source.document.complaints
        if source.document.complaints:
            broken.add(path.name)
        if source.value is None:
            continue
        sources[path.name] = source
        rolled = rollouts.read(path)
        entry = _resolved(path.name, source.value, runbook=_headings(path, complaints))
        services[path.name] = entry.model_copy(update={"first": rolled.first})
        complaints += _deployment(path, source, source.value)
        complaints += rolled.complaints
        for number in source.value.numbers:
            if (other := numbered.setdefault(number, path.name)) != path.name:
                wrong = f"the number {number} is already that of {other}"
                line = source.line("numbers")
                complaints.append(Complaint(source.document.path, line, wrong, "keep it in one of them"))
    found = Read(services, (), sources)
    told = [note for note in rules.catalogue(services) if note.missing not in broken]
    return Read(services, (*complaints, *map(found.complaint, told)), sources)


def _deployment(folder: Path, source: Typed[WrittenService], written: WrittenService) -> Iterator[Complaint]:
    """Complaints about roles and manifests that are not there."""
    deployment = written.deployment
    if deployment is None:
        return
    shown = source.document.path
    known = {path.name for path in ROLES.glob("*") if path.is_dir()}
    for index, role in enumerate(deployment.roles):
        if role not in known:
            line = source.line("deployment", "roles", index)
            right = did_you_mean(role, known) or "write the role first"
            yield Complaint(shown, line, f"there is no role {role!r} in playbooks/roles", right)
    if deployment.kubernetes is not None:
        form, path = deployment.kubernetes.form, deployment.kubernetes.path
        if not any((folder / path).glob(FORMS[form])):
            line = source.line("deployment", "kubernetes", "path")
            wrong = f"there is no {FORMS[form]} in {path}"
            yield Complaint(shown, line, wrong, f"put the {form} of the service there, or name their folder")
        elif form == "manifests":
            yield from read_manifests(folder / path, namespaces=written.enclaves).complaints


def load(folder: Path = CATALOGUE) -> dict[str, Service]:
    """All services by name.

    Raises:
        DefinitionError: with all complaints.
    """
    found = read(folder)
    if found.complaints:
        raise DefinitionError(found.complaints)
    return found.services


SEVERITIES = ("error", "warning")


@dataclass(frozen=True)
class Linted:
    """What entries do not say yet."""

    errors: tuple[Complaint, ...]
    """Of deployable services of the first two tiers, which must say it."""
    gaps: tuple[Complaint, ...]
    """Of all others."""


def lint(found: Read) -> Linted:
    """What the entries of a catalogue do not say yet, with path and line."""
    notes = [note for service in found.services.values() for note in rules.gaps(service)]
    told = {severity: [found.complaint(note) for note in notes if note.severity == severity] for severity in SEVERITIES}
    return Linted(tuple(sorted(told["error"])), tuple(sorted(told["warning"])))
