"""The catalogue of services: ``inventory/catalogue/<service>/service.yaml``, read and checked against itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictBool

from pachon import places
from pachon.checks.spelling import did_you_mean
from pachon.definition.documents import read_document
from pachon.definition.sources import shown_path, typed
from pachon.definition.written import NEED, PORT, PROOF, Name, Text, Written
from pachon.errors import Complaint, DefinitionError
from pachon.model.service import Endpoint, Owners, Service, ServiceGroup, Tier

CATALOGUE = places.CHECKOUT / "inventory" / "catalogue"


class WrittenEndpoint(Written):
    """A port that the service answers on."""

    name: Name
    """What it is for."""
    port: Annotated[str, Field(pattern=PORT)]
    """Protocol and port, such as ``tcp/443``."""


class WrittenOwners(Written):
    """Teams that answer for the service (teams, never people)."""

    sponsor: Name
    """Wants it and pays for it."""
    owner: Name
    """Decides about it."""
    infrastructure: Name
    """Keeps what it runs on."""
    operations: Name
    """Is called when it fails."""


class WrittenService(Written):
    """``service.yaml``: what a service is, who answers for it and what it needs."""

    title: Text
    """Its name for people."""
    numbers: Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=9999)], ...], Field(min_length=1)]
    """Its numbers in the facility's list of services: its own first, then those that fold into it."""
    group: ServiceGroup
    """The group that it belongs to."""
    also_serves: tuple[ServiceGroup, ...] = ()
    """Other groups that it serves."""
    sites: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Sites that it is meant for."""
    enclaves: tuple[Name, ...] = ()
    """Enclaves that it is meant for; none written means all."""
    tier: Tier
    """``real-time``: cannot be run again later; ``critical``: can be recovered; ``operational``."""
    observatory_veto: StrictBool = False
    """Whether the Observatory has the last word on inserting and judging a change."""
    owners: WrittenOwners
    """Teams that answer for it."""
    operating: Text
    """What operating it means."""
    stated: tuple[Text, ...] = ()
    """Numbers that the survey's documents state for it."""
    needs: tuple[Annotated[str, Field(pattern=NEED)], ...] = ()
    """Services that it cannot do without, by folder, or one endpoint of one: ``<service>/<endpoint>``."""
    endpoints: tuple[WrittenEndpoint, ...] = ()
    """Ports that it answers on."""
    proof: tuple[Annotated[str, Field(pattern=PROOF)], ...] = ()
    """Tests that show it working, as pytest names them; none means that it is planned."""


@dataclass(frozen=True)
class Read:
    """The catalogue as far as it could be read."""

    services: dict[str, Service]
    complaints: tuple[Complaint, ...]


def _resolved(name: str, written: WrittenService) -> Service:
    return Service(
        name=name,
        title=written.title,
        numbers=written.numbers,
        group=written.group,
        also_serves=written.also_serves,
        sites=written.sites,
        enclaves=written.enclaves,
        tier=written.tier,
        observatory_veto=written.observatory_veto,
        owners=Owners(**written.owners.model_dump()),
        operating=written.operating,
        stated=written.stated,
        needs=written.needs,
        endpoints=tuple(Endpoint(name=item.name, port=item.port) for item in written.endpoints),
        proof=written.proof,
    )


def read(folder: Path = CATALOGUE) -> Read:
    """All services, by name, and everything wrong with their files."""
    services: dict[str, Service] = {}
    complaints: list[Complaint] = []
    needs: list[tuple[str, int, str]] = []
    numbered: dict[int, str] = {}
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for path in folders:
        document = read_document(path / "service.yaml", shown_path(path) + "/service.yaml")
        source = typed(document, WrittenService)
        complaints += document.complaints
        if source.value is None:
            continue
        services[path.name] = _resolved(path.name, source.value)
        needs += [(need, source.line("needs", index), document.path) for index, need in enumerate(source.value.needs)]
        for number in source.value.numbers:
            if (other := numbered.setdefault(number, path.name)) != path.name:
                wrong = f"the number {number} is already that of {other}"
                complaints.append(Complaint(document.path, source.line("numbers"), wrong, "keep it in one of them"))
    known = {path.name for path in folders}
    for need, line, shown in needs:
        service, _, endpoint = need.partition("/")
        names = {item.name for item in services[service].endpoints} if service in services else set()
        if service not in known:
            right = did_you_mean(service, known) or "add it to the catalogue"
            complaints.append(Complaint(shown, line, f"there is no service {service!r}", right))
        elif endpoint and service in services and endpoint not in names:
            right = did_you_mean(endpoint, names) or f"its endpoints are {', '.join(sorted(names)) or 'none'}"
            complaints.append(Complaint(shown, line, f"the service {service} has no endpoint {endpoint!r}", right))
    return Read(services, tuple(complaints))


def load(folder: Path = CATALOGUE) -> dict[str, Service]:
    """All services by name.

    Raises:
        DefinitionError: with all complaints.
    """
    found = read(folder)
    if found.complaints:
        raise DefinitionError(found.complaints)
    return found.services
