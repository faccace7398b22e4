"""The stamp that every physical thing of ours carries: its address and its generation, as ``address@generation``."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pachon.model.base import Frozen

_FORM = re.compile(r"(?P<address>[a-z0-9][a-zA-Z0-9_./-]*)@(?P<generation>[0-9a-f]{12})")


class Stamp(Frozen):
    """Whose thing this is, and which one."""

    address: str
    generation: str

    def __str__(self) -> str:
        return f"{self.address}@{self.generation}"


def parse_stamp(text: str) -> Stamp | None:
    """The stamp written in that text, or None if it is not one of ours."""
    match = _FORM.fullmatch(text.strip())
    return None if match is None else Stamp(address=match["address"], generation=match["generation"])


def generation(address: str, inputs: Mapping[str, Any], replacing: Iterable[str]) -> str:
    """Twelve hex digits that change whenever an input that forces a replacement does."""
    chosen = {key: inputs.get(key) for key in sorted(replacing)}
    return digest({"address": address, "inputs": chosen})[:12]


def digest(value: Any) -> str:
    """SHA-256, in hex, of a JSON value written the one canonical way."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
