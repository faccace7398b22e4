"""Programs that releases are made of, by digest: from a service's entry in the catalogue to where roles find them.

An entry keeps them in ``artefacts/``, under whatever name; a facility's state folder in ``artefacts/`` too, each under
its digest. What was once there stays, so that an older release can be started again whatever became of its file.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

FOLDER = "artefacts"


def shelve(catalogue: Path, services: Collection[str], state: Path) -> None:
    """Have the artefacts of these services in the state folder."""
    for service in services:
        for path in sorted((catalogue / service / FOLDER).glob("*")):
            if path.is_file():
                content = path.read_bytes()
                place = path_of(state, "sha256:" + hashlib.sha256(content).hexdigest())
                if not place.exists():
                    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    draft = place.with_suffix(".new")
                    draft.write_bytes(content)
                    draft.replace(place)


def shelved(state: Path) -> frozenset[str]:
    """Digests of all that are there, of files that are still what their name says."""
    found = ((path, path.name.replace("-", ":", 1)) for path in (state / FOLDER).glob("sha256-*"))
    return frozenset(name for path, name in found if "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() == name)


def path_of(state: Path, digest: str) -> Path:
    """Where the artefact with that digest (``sha256:…``) lies."""
    return state / FOLDER / digest.replace(":", "-")
