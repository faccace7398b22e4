"""The folder of a campaign at a site's storage host, spoken to over SSH: what came in, and what is in it.

Workers bring and fetch by rsync; this is how the control layer looks at the same files.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pachon.drivers.ssh import Host
from pachon.errors import PermanentError

PROGRAM = Path(__file__).with_name("staging_program.py")
TURN = timedelta(seconds=60)
OVERLAP_NS = 1_000_000_000
"""Looks overlap by so much: files that come in the same instant may be seen one by one."""


@dataclass(frozen=True)
class Document:
    """A small text file that a worker left: the record of a product, or why there is none."""

    name: str
    text: str


class Staging:
    """One campaign's folder at one site; remembers up to when it has told of what came in."""

    def __init__(self, open_host: Callable[[], Awaitable[Host]], *, folder: str, campaign: str) -> None:
        self._open = open_host
        self._call = {"folder": folder, "campaign": campaign}
        self._since_ns = 0

    async def news(self) -> tuple[Document, ...]:
        """Records that came in since the last call, at first all of them; some may be told twice."""
        told: list[Document] = []
        since_ns, more = self._since_ns, True
        while more:
            answer = await self._turn(names=[], since_ns=since_ns)
            told += [Document(name=str(item["name"]), text=str(item["text"])) for item in answer["documents"]]
            since_ns, more = int(answer["until_ns"]), bool(answer["more"])
        self._since_ns = max(0, since_ns - OVERLAP_NS)
        return tuple(told)

    async def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Contents of files, by name; those that are not there are left out."""
        found: dict[str, bytes] = {}
        left = list(names)
        while left:
            contents = (await self._turn(names=left, since_ns=0))["contents"]
            if not contents:
                break
            try:
                found |= {name: base64.b64decode(text) for name, text in contents.items() if text is not None}
            except (binascii.Error, TypeError) as error:
                raise PermanentError("the storage host answers nonsense", cure="see the host") from error
            left = [name for name in left if name not in contents]
        return found

    async def _turn(self, *, names: Sequence[str], since_ns: int) -> dict[str, Any]:
        call = {**self._call, "names": list(names), "since_ns": since_ns}
        return await (await self._open()).run_program(PROGRAM.read_text(), call, timeout=TURN)
