"""What a server tells as it happens: shown to people, printed as lines of JSON, and kept beside its socket."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pachon.model.base import Frozen

KEPT_BYTES = 4 << 20
"""Of a site's record, twice: the one that is written and the one before it."""

What = Literal[
    "serving",
    "round",
    "drift-began",
    "drift-ended",
    "drift-dropped",
    "host-silent",
    "host-answers",
    "asked",
    "paused",
    "resumed",
    "definition",
    "trouble",
    "ended",
]


class Told(Frozen):
    """Something happened at a site."""

    at: datetime
    site: str
    event: What
    address: str
    """What it happened to, such as ``base/host/base-adm01/file:/etc/hosts``; the site itself otherwise."""
    message: str
    """For people."""


Listener = Callable[[Told], None]


class Record:
    """The record of one site, and who else hears of what happens there."""

    def __init__(self, site: str, path: Path, listener: Listener) -> None:
        self._site = site
        self._path = path
        self._listener = listener

    def tell(self, event: What, message: str, *, address: str = "") -> None:
        """Let it be known, and keep it unless it comes with every round."""
        told = Told(at=datetime.now(UTC), site=self._site, event=event, address=address or self._site, message=message)
        self._listener(told)
        if event not in ("round", "asked"):
            self._keep(told)

    def _keep(self, told: Told) -> None:
        try:
            if self._path.exists() and self._path.stat().st_size > KEPT_BYTES:
                self._path.replace(self._path.with_suffix(".before.jsonl"))
            with self._path.open("a") as file:
                file.write(json.dumps(told.model_dump(mode="json"), ensure_ascii=False) + "\n")
        except (OSError, ValueError):
            return  # a full disk must not end the watch; who listens was told
