"""Names in a facility for the shell to complete: kept in the cache until a file of the definition changes."""

import hashlib
import json
import os
from pathlib import Path

from pachon.cli.frame import Names
from pachon.errors import PachonError
from pachon.places import CHECKOUT, cache

FACILITIES = CHECKOUT / "inventory" / "facilities"


def shipped() -> list[str]:
    """Names of the facilities in this checkout."""
    return sorted(entry.name for entry in FACILITIES.glob("*") if entry.is_dir())


def known_names(kind: Names, wanted: str) -> list[str]:
    """Names of that kind in the facility; nothing where the definition cannot be read."""
    if kind == "facility":
        return shipped()
    try:
        from pachon.definition import find
        from pachon.definition.loading import catalogue_of

        if kind == "service":
            return sorted(entry.name for entry in catalogue_of(find(wanted)).iterdir() if entry.is_dir())
        return index(find(wanted)).get(kind, [])
    except (PachonError, OSError):
        return []


def index(path: Path) -> dict[str, list[str]]:
    """All names of a facility by kind."""
    fingerprint = _fingerprint(path)
    kept = cache() / "completion" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"
    try:
        known = json.loads(kept.read_text())
        if known["fingerprint"] == fingerprint:
            return {kind: list(names) for kind, names in known["names"].items()}
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    names = _names(path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"fingerprint": fingerprint, "names": names}))
    draft.replace(kept)
    return names


def _names(path: Path) -> dict[str, list[str]]:
    from pachon.definition import load

    facility = load(path)
    return {
        "site": [site.name for site in facility.sites],
        "host": sorted(host.name for host in facility.hosts),
        "machine": sorted(machine.serial for machine in facility.machines),
        "group": sorted({group for host in facility.hosts for group in host.groups}),
    }


def _fingerprint(path: Path) -> str:
    seen = hashlib.sha256()
    for entry in sorted(path.rglob("*")):
        stat = entry.stat()
        seen.update(f"{entry} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return seen.hexdigest()
