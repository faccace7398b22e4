"""What is wrong with an object of a service's manifests, before any cluster is asked; pure."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pachon.checks.spelling import did_you_mean
from pachon.model.cluster_object import KINDS, OURS, Body, containers

Location = tuple[str | int, ...]

BY_DIGEST = re.compile(r"[a-z0-9][a-zA-Z0-9._:/-]{0,200}@sha256:[0-9a-f]{64}")
TAGGED = re.compile(r"[^@]*:[^/@]+")
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
NOT_WRITTEN = ("generateName", "managedFields", "resourceVersion", "uid")
"""Of metadata: what only the API server knows, or what would make another object each time."""
SECRET = "Secret"


@dataclass(frozen=True)
class Fault:
    """One thing wrong, and where in the object."""

    location: Location
    wrong: str
    right: str


def faults(body: Body, *, namespaces: Collection[str]) -> Iterator[Fault]:
    """All that is wrong with an object; ``namespaces`` are the enclaves that it may be in, none written means any."""
    kind, api = body.get("kind"), body.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(api, str):
        missing = "kind" if not isinstance(kind, str) else "apiVersion"
        yield Fault((missing,), f"this object has no {missing}", f"write {missing}, as in 'kind: Deployment'")
        return
    known = KINDS.get(kind)
    if kind == SECRET:
        yield Fault(
            ("kind",),
            "a Secret would stand here for all to read",
            "take it out: what is secret is declared by name, and never lies in manifests",
        )
    elif known is None:
        own = [name for name, each in KINDS.items() if each.namespaced]
        right = did_you_mean(kind, set(own)) or f"one of {', '.join(own)}"
        yield Fault(("kind",), f"there is no kind {kind!r} that manifests may hold", right)
    elif not known.namespaced:
        yield Fault(("kind",), f"a {kind} is the whole cluster's", "take it out: that is made of the definition")
    elif api != known.api:
        yield Fault(("apiVersion",), f"{kind} is not of {api!r}", f"write 'apiVersion: {known.api}'")
    yield from _metadata(body.get("metadata"), namespaces)
    if "status" in body:
        yield Fault(("status",), "only the cluster itself says what an object's status is", "take status out")
    yield from _images(body)
    spec = body.get("spec")
    if kind == "Job" and isinstance(spec, Mapping) and "ttlSecondsAfterFinished" in spec:
        wrong = "a Job that removes itself would be made, and run, again by every run of ours"
        yield Fault(("spec", "ttlSecondsAfterFinished"), wrong, "take it out; what no manifest has any more is removed")


def _metadata(metadata: object, namespaces: Collection[str]) -> Iterator[Fault]:
    if not isinstance(metadata, Mapping):
        yield Fault(("metadata",), "this object has no metadata", "write metadata with a name")
        return
    for key in NOT_WRITTEN:
        if key in metadata:
            yield Fault(("metadata", key), f"{key} is the API server's to say", f"take {key} out, and write a name")
    name = metadata.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        wrong = f"{name!r} is no name of an object" if "name" in metadata else "this object has no name"
        yield Fault(("metadata", "name"), wrong, "write lower-case letters, digits, hyphens and dots")
    namespace = metadata.get("namespace")
    if namespace is not None and namespaces and namespace not in namespaces:
        yield Fault(
            ("metadata", "namespace"),
            f"the namespace {namespace!r} is not the enclave's",
            f"leave it out, or write {' or '.join(sorted(namespaces))}, where the service is placed",
        )
    for key in ("labels", "annotations"):
        written = metadata.get(key)
        for each in written if isinstance(written, Mapping) else ():
            if str(each).startswith(OURS):
                yield Fault(("metadata", key, each), f"{each} is written by Pachon", "take it out")


def _images(body: Body) -> Iterator[Fault]:
    for location, container in containers(body):
        image = container.get("image")
        if not isinstance(image, str) or not image:
            yield Fault(location, "this container has no image", "write its image with its digest")
        elif not BY_DIGEST.fullmatch(image):
            by_tag = "@" not in image and TAGGED.fullmatch(image)
            wrong = "is named by a tag, which may be moved" if by_tag else "has no digest"
            base = image.partition("@")[0]
            if by_tag:
                base = base.rpartition(":")[0]
            yield Fault((*location, "image"), f"the image {image} {wrong}", f"write {base}@sha256:… as it was built")
