"""The facility as it was last built here, kept in its state folder, for when its definition cannot be read any more.

So what stands can be looked at and taken down by its name, whatever became of the files that it was made from.
"""

import re
from pathlib import Path

from pydantic import ValidationError

from pachon import places
from pachon.model.base import Frozen
from pachon.model.facility import Facility

NAME_LINE = re.compile(r"^name:\s*[\"']?([a-z][a-z0-9-]*)[\"']?\s*(#.*)?$", re.MULTILINE)


class Known(Frozen):
    """What is kept."""

    folder: Path
    """Of the definition."""
    facility: Facility


def keep(facility: Facility, folder: Path, state: Path) -> None:
    """Keep the facility, whose definition is in that folder, in place of what was kept before."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = _path(state).with_suffix(".new")
    draft.write_text(Known(folder=folder.resolve(), facility=facility).model_dump_json())
    draft.replace(_path(state))


def known(state: Path) -> Known | None:
    """What was kept; None if nothing was, or another version of this program kept it."""
    try:
        return Known.model_validate_json(_path(state).read_bytes())
    except (OSError, ValidationError):
        return None


def name_of(wanted: str) -> str | None:
    """Name of the facility that stands here under that name, or was made from that folder; None if none does."""
    if "/" not in wanted and wanted.strip(".") and places.state(wanted).is_dir():
        return wanted
    shipped = places.CHECKOUT / "inventory" / "facilities" / wanted
    folder = shipped if "/" not in wanted and shipped.is_dir() else Path(wanted)
    folder = (folder.parent if folder.name == "facility.yaml" else folder).resolve()
    try:
        named = NAME_LINE.search((folder / "facility.yaml").read_text(errors="replace"))
    except (OSError, ValueError):
        named = None
    if named is not None and places.state(named[1]).is_dir():
        return named[1]
    for path in sorted(places.state("-").parent.glob("*/facility.json")):
        found = known(path.parent)
        if found is not None and found.folder == folder:
            return path.parent.name
    return None


def _path(state: Path) -> Path:
    return state / "facility.json"
