"""Programs that run on hosts: sent over SSH as text, standard library only, one JSON call in, one JSON answer out.

What they share is in ``fence``; since a host gets one text, it is put before those that import it.
"""

from functools import lru_cache
from pathlib import Path

_IMPORT = "from infra.provider.programs.fence import "


@lru_cache(maxsize=16)
def text(name: str) -> str:
    """Source of a program that stands alone; its ``main(call)`` answers."""
    folder = Path(__file__).parent
    lines = (folder / f"{name}.py").read_text().splitlines(keepends=True)
    own = [line for line in lines if not line.startswith(_IMPORT)]
    shared = (folder / "fence.py").read_text() if len(own) < len(lines) else ""
    return shared + "".join(own)
