"""A service's releases and the rules of its rollouts, read from its entry in the catalogue, or every complaint."""

import re
from dataclasses import dataclass
from pathlib import Path

from pachon.definition.campaigns import VERSION
from pachon.definition.documents import read_document
from pachon.definition.sources import shown_path, typed
from pachon.definition.written_rollout import WrittenGate, WrittenRelease, WrittenRollout, WrittenStrategy
from pachon.errors import Complaint
from pachon.model.rollout import (
    Artefact,
    BlueGreen,
    Canary,
    Gate,
    HealthGate,
    Pace,
    QueryGate,
    Release,
    Rolling,
    Rules,
    SmokeGate,
    Strategy,
    WaveRule,
    Window,
)

FILE = "rollout.yaml"
FOLDER = "releases"


@dataclass(frozen=True)
class ReadRollout:
    """What a service's entry says of its releases."""

    rules: Rules | None
    releases: dict[str, Release]
    complaints: tuple[Complaint, ...]
    first: Release | None = None
    """What stands where nothing was ever rolled out."""


def read(folder: Path) -> ReadRollout:
    """What the folder of a service says of its releases and of their rollouts; nothing, where it says nothing."""
    releases: dict[str, Release] = {}
    complaints: list[Complaint] = []
    for path in sorted((folder / FOLDER).glob("*")):
        release, told = _release(folder, path)
        complaints += told
        if release is not None:
            releases[release.version] = release
    rules, first = None, None
    if (folder / FILE).exists():
        source = typed(read_document(folder / FILE, f"{shown_path(folder)}/{FILE}"), WrittenRollout)
        complaints += source.document.complaints
        if source.value is not None and not source.document.complaints:
            rules = _rules(folder.name, source.value)
            first = releases.get(source.value.first or "")
            if source.value.first is not None and first is None:
                wrong = f"there is no release {source.value.first} to begin with"
                known = f"name one of {', '.join(releases)}" if releases else "write releases/<version>.yaml"
                complaints.append(Complaint(source.document.path, source.line("first"), wrong, known))
    elif releases:
        wrong = f"there are releases and no {FILE}"
        complaints.append(Complaint(f"{shown_path(folder)}/{FILE}", 1, wrong, "write how they take each other's place"))
    return ReadRollout(rules, releases, tuple(complaints), first)


def _release(folder: Path, path: Path) -> tuple[Release | None, list[Complaint]]:
    shown = f"{shown_path(folder)}/{FOLDER}/{path.name}"
    if path.suffix != ".yaml" or not re.fullmatch(VERSION, path.stem):
        return None, [Complaint(shown, 1, "nothing reads this", "a release's file is its version, such as 1.0.0.yaml")]
    source = typed(read_document(path, shown), WrittenRelease)
    if source.value is None or source.document.complaints:
        return None, source.document.complaints
    written = source.value
    return (
        Release(
            service=folder.name,
            version=path.stem,
            kind=written.kind,
            artefacts=tuple(Artefact(name=each.name, digest=each.digest) for each in written.artefacts),
            arguments=written.arguments,
        ),
        [],
    )


def _rules(service: str, written: WrittenRollout) -> Rules:
    return Rules(
        service=service,
        strategy=_strategy(written.strategy),
        pace=Pace(**written.pace.model_dump(exclude_none=True)),
        side_by_side=written.side_by_side,
        waves=tuple(WaveRule(**each.model_dump()) for each in written.waves),
        gates=tuple(map(_gate, written.gates)),
        windows=tuple(Window(**each.model_dump()) for each in written.windows),
    )


def _strategy(written: WrittenStrategy) -> Strategy:
    given = written.model_dump(exclude_none=True)
    match written.kind:
        case "rolling":
            return Rolling(**given)
        case "canary":
            return Canary(**given)
        case "blue-green":
            return BlueGreen(**given)


def _gate(written: WrittenGate) -> Gate:
    given = written.model_dump(exclude_none=True)
    match written.kind:
        case "health":
            return HealthGate(**given)
        case "smoke":
            return SmokeGate(**given)
        case "query":
            return QueryGate(**{"at_most": None, "at_least": None, **given})
