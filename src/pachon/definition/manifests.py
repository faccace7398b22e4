"""Manifests of services that run in clusters: their YAML files, read with lines, examined, and placed in an enclave."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pachon.checks.cluster_objects import faults
from pachon.definition.documents import Builder, Document, read_text
from pachon.definition.sources import shown_path
from pachon.errors import Complaint
from pachon.model.cluster_object import PlacedManifest
from pachon.model.service import Service, ServiceState

PATTERN = "*.yaml"


@dataclass(frozen=True)
class Manifest:
    """One object as a file has it."""

    body: dict[str, Any]
    document: Document
    """For the lines of what stands in it."""

    @property
    def where(self) -> str:
        """Path and line."""
        return f"{self.document.path}:{self.document.line(())}"


@dataclass(frozen=True)
class Manifests:
    """Those of a folder, as far as they can be used, and everything wrong with them."""

    objects: tuple[Manifest, ...]
    complaints: tuple[Complaint, ...]


def read_manifests(folder: Path, *, namespaces: Collection[str] = ()) -> Manifests:
    """All objects of the YAML files in a folder, by file and place; ``namespaces`` that they may be in, none: any."""
    objects: list[Manifest] = []
    complaints: list[Complaint] = []
    seen: dict[tuple[str, str], str] = {}
    for path in sorted(folder.glob(PATTERN)):
        shown = f"{shown_path(folder)}/{path.name}"
        for document in _documents(path, shown, complaints):
            complaints += document.complaints
            if document.value is None:
                continue
            manifest = Manifest(dict(document.value), document)
            found = [
                Complaint(shown, document.line(fault.location), fault.wrong, fault.right)
                for fault in faults(manifest.body, namespaces=namespaces)
            ]
            complaints += found
            if found or document.complaints:
                continue
            key = (str(manifest.body["kind"]), str(manifest.body["metadata"]["name"]))
            if (first := seen.setdefault(key, manifest.where)) != manifest.where:
                line = document.line(("metadata", "name"))
                complaints.append(
                    Complaint(shown, line, f"the {key[0]} {key[1]} stands twice", f"keep one; the first is at {first}")
                )
                continue
            objects.append(manifest)
    return Manifests(tuple(objects), tuple(complaints))


def placed_manifests(
    service: Service, catalogue: Path, *, enclave: str
) -> tuple[tuple[PlacedManifest, ...], tuple[Complaint, ...]]:
    """What of a service an enclave's cluster is to hold, and what is wrong with it there; of declared ones nothing."""
    kubernetes = service.deployment.kubernetes if service.deployment is not None else None
    if kubernetes is None or kubernetes.form != "manifests" or service.state is ServiceState.DECLARED:
        return (), ()
    found = read_manifests(catalogue / service.name / kubernetes.path, namespaces=(enclave,))
    # The catalogue itself has told the rest, whatever the enclave.
    told = tuple(each for each in found.complaints if each.wrong.startswith("the namespace "))
    placed = [
        PlacedManifest(body=each.body, where=f"{service.name}/{kubernetes.path}/{each.where.rpartition('/')[2]}")
        for each in found.objects
    ]
    return tuple(placed), told


def _documents(path: Path, shown: str, complaints: list[Complaint]) -> Iterator[Document]:
    """The mappings of a file, one after another."""
    text = read_text(path, shown, complaints)
    if text is None:
        return
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.CSafeLoader) if node is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        line = mark.line + 1 if mark is not None else 1
        complaints.append(Complaint(shown, line, f"this is not YAML: {problem}", "mend the syntax"))
        return
    for node in nodes:
        document = Document(shown)
        if isinstance(node, yaml.MappingNode):
            value = Builder(document).build(node, (), 0)
            document.value = value if isinstance(value, dict) else None
            yield document
        elif not (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
            line = node.start_mark.line + 1
            complaints.append(Complaint(shown, line, "this is no object", "write apiVersion, kind and metadata"))
