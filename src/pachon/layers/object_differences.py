"""What differs between two states of a cluster's object, field by field, in words that people know from manifests."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pachon.model.cluster_object import DIGEST, Body
from pachon.plan.document import Difference

UNTOLD = frozenset(
    {"creationTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields", "resourceVersion", "uid"}
)
"""Of metadata: what the API server says of an object by itself."""
SERVER_SAYS = frozenset({"deployment.kubernetes.io/revision", DIGEST})
"""Annotations that are no part of what is wanted."""
DEEPEST = 40


def differences(before: Body | None, after: Body) -> tuple[Difference, ...]:
    """Fields that differ, by path; where nothing was before there is none."""
    if before is None:
        return ()
    return tuple(_differing("", _told(before), _told(after), 0))


def holds(wanted: object, seen: object) -> bool:
    """Whether all that is wanted is so; what is beyond it is somebody else's, or a default."""
    match wanted, seen:
        case Mapping(), Mapping():
            return all(key in seen and holds(value, seen[key]) for key, value in wanted.items())
        case (Sequence(), Sequence()) if not isinstance(wanted, str) and not isinstance(seen, str):
            return len(wanted) == len(seen) and all(map(holds, wanted, seen))
        case _:
            return wanted == seen


def _told(body: Body) -> dict[str, Any]:
    """Without what says nothing of what is wanted."""
    metadata = {key: value for key, value in body.get("metadata", {}).items() if key not in UNTOLD}
    annotations = {key: value for key, value in metadata.pop("annotations", {}).items() if key not in SERVER_SAYS}
    if annotations:
        metadata["annotations"] = annotations
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def _differing(path: str, before: object, after: object, depth: int) -> Iterator[Difference]:
    if before == after:
        return
    if depth < DEEPEST and isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            at = f"{path}.{key}" if path else str(key)
            yield from _differing(at, before.get(key), after.get(key), depth + 1)
        return
    if depth < DEEPEST and isinstance(before, list) and isinstance(after, list):
        then, now = _by_name(before), _by_name(after)
        if then is not None and now is not None:
            for name in dict.fromkeys((*then, *now)):
                yield from _differing(f"{path}[{name}]", then.get(name), now.get(name), depth + 1)
            return
    yield Difference(key=path, before=before, after=after)


def _by_name(items: Sequence[object]) -> Mapping[str, object] | None:
    """Items by their names; None where not each has one of its own."""
    named = {str(item["name"]): item for item in items if isinstance(item, Mapping) and "name" in item}
    return named if len(named) == len(items) else None
