"""Programs that run on hosts: sent over SSH as text, standard library only, one JSON call in, one JSON answer out.

What they share is in ``fence``; since a host gets one text, it is put in the place of the import.
"""

from functools import lru_cache
from pathlib import Path

_IMPORT = "from infra.provider.programs.fence import "


@lru_cache(maxsize=16)
def text(name: str) -> str:
    """Source of a program that stands alone; its ``main(call)`` answers."""
    folder = Path(__file__).parent
    lines = (folder / f"{name}.py").read_text().splitlines(keepends=True)
    return (folder / "fence.py").read_text() + "".join(line for line in lines if not line.startswith(_IMPORT))
