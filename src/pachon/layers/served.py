"""What ``pachon serve`` of a site sees, for commands that would otherwise open connections of their own to look.

A server looks anew each time it is asked, so what it tells is what a cold look would. A question carries all that it is
about, so a server whose definition is older answers as well; one that runs another program text is not asked, and one
that has read other texts of roles reads them anew. Whatever goes wrong with a server, the command looks by itself, and
says why in one line.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from pachon import places, program_text
from pachon.drivers.run_file import Endpoint, RunFile
from pachon.drivers.ssh import Fleet
from pachon.errors import PachonError, TemporaryError
from pachon.layers import sight
from pachon.layers.hardware import Observation, Observations
from pachon.layers.role_trees import role_texts
from pachon.layers.sight import Asked, Checks, Memory, Sight
from pachon.model.base import Frozen
from pachon.processes.sockets import short_path
from pachon.progress import Event, Progress
from pachon.store.database import Store

STAGE = "serve"
LINE_BYTES = 256 << 20
HELLO_SECONDS = 15.0
SILENT_SECONDS = 15.0
"""A server that works says so each second; one that says nothing for so long hangs."""

SIGHT: TypeAdapter[Sight] = TypeAdapter(Sight)
SEEN: TypeAdapter[list[Observation]] = TypeAdapter(list[Observation])


class GoneError(TemporaryError):
    """The server does not answer, or not this question."""


class Hello(Frozen):
    """What a server says of itself."""

    facility: str
    site: str
    store: str
    version: str
    holder: str
    """``user@machine (process N)``."""
    since: datetime
    hosts: int
    """Of its own definition."""
    open: int
    """Hosts with an open channel."""
    looked_at: datetime | None
    """When it last looked by itself."""
    drift: int
    """Differences that it knows of and nobody accepted."""
    unknown: dict[str, datetime]
    """Hosts that did not answer, since when."""


class Known(Frozen):
    """What a server saw when it last looked by itself."""

    at: datetime | None
    sight: Sight


@dataclass(frozen=True)
class Eyes:
    """What one look at a site goes through."""

    server: "Server | None"
    """The site's, if there is one."""
    fleet: Fleet
    """Where the server gives no answer: connections for this look, shared by all that looks."""


class LookAt(Frozen):
    """A question: what differs on these hosts?"""

    asked: Asked
    doors: dict[str, Endpoint] = Field(default_factory=dict)
    """Of addresses that are mapped elsewhere."""
    roles: str = Field(default_factory=role_texts)
    """Digest of the texts of roles that the command goes by: what is left over on hosts depends on them."""


def folder(state: Path) -> Path:
    """Where servers of a facility have their sockets, locks and records."""
    return places.servers(state)


def socket_path(state: Path, site: str) -> Path:
    """What the server of this site listens at."""
    return places.server_socket(state, site)


def version() -> str:
    """Digest of the program text as it lies here now."""
    return program_text.version(*program_text.LOOKING)


class Server:
    """A server that said hello."""

    def __init__(self, path: Path, hello: Hello) -> None:
        self._path = path
        self.hello = hello

    async def look(self, question: LookAt) -> Sight:
        """What differs on these hosts now.

        Raises:
            GoneError: it does not answer.
        """
        return SIGHT.validate_python(await self._ask("look", question.model_dump(mode="json")))

    async def observe(self, run: RunFile) -> Observations:
        """Each resource that the document declares, as it is now (errors as of ``look``)."""
        told = SEEN.validate_python(await self._ask("observe", run.model_dump(mode="json")))
        return {each.address: each for each in told}

    async def known(self) -> Known:
        """What it saw when it last looked by itself (errors as of ``look``)."""
        return Known.model_validate(await self._ask("known", {}))

    async def _ask(self, what: str, about: Mapping[str, Any]) -> Any:
        return await asked(self._path, what, about)


async def find(state: Path, site: str) -> Server | None:
    """The server of this site that is to be asked; None where there is none.

    Raises:
        GoneError: there is one, and it is not to be asked: killed, hanging, of another version.
    """
    path = socket_path(state, site)
    if not path.exists():
        return None
    told = await asked(path, "hello", {}, within_seconds=HELLO_SECONDS)
    try:
        hello = Hello.model_validate(told)
    except ValueError as error:
        raise GoneError("it is of another version", cure="end it and start it anew: 'pachon serve'") from error
    if hello.version != version():
        raise GoneError("it runs another version of the program", cure="end it and start it anew: 'pachon serve'")
    if hello.store != places.store(state):
        raise GoneError(f"it keeps its records in {hello.store}", cure="start it with the same PACHON_STORE")
    return Server(path, hello)


async def found(state: Path, site: str, progress: Progress) -> Server | None:
    """As ``find``; of a server that is not to be asked a line is said."""
    try:
        return await find(state, site)
    except GoneError as error:
        unasked(site, error, progress)
        return None


async def look(question: LookAt, *, server: Server | None, store: Store, probe: Checks, progress: Progress) -> Sight:
    """What differs on these hosts now: as the server sees it, or else as the probe does."""
    if server is not None:
        try:
            return await server.look(question)
        except GoneError as error:
            unasked(question.asked.site, error, progress)
    return await sight.look(question.asked, store, probe, memory=Memory())


def unasked(site: str, error: PachonError, progress: Progress) -> None:
    """Say why the site is looked at without its server."""
    progress(Event(STAGE, site, "unchanged", f"'pachon serve' is not used: {error.message}; looking without it"))


async def asked(path: Path, what: str, about: Mapping[str, Any], *, within_seconds: float = SILENT_SECONDS) -> Any:
    """The answer of the server at this socket.

    Raises:
        GoneError: there is none behind it, or it says nothing for so many seconds, or refuses.
    """
    try:
        async with _connected(path, within_seconds) as (reader, writer):
            writer.write(json.dumps({"do": what, "about": about}).encode() + b"\n")
            await writer.drain()
            while True:
                async with asyncio.timeout(within_seconds):
                    line = await reader.readline()
                if not line.endswith(b"\n"):
                    raise GoneError("it ended while it was asked", cure="start it again: 'pachon serve'")
                told = json.loads(line)
                if "refused" in told:
                    raise GoneError(str(told["refused"]), cure="see what it says")
                if "answer" in told:
                    return told["answer"]
    except TimeoutError as error:
        raise GoneError(f"it says nothing for {within_seconds:g} s", cure="end it and start it anew") from error
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise GoneError("it was killed", cure="start it again: 'pachon serve'") from error
    except (OSError, ValueError, TypeError) as error:
        raise GoneError(f"it cannot be asked: {error}", cure="end it and start it anew") from error


@asynccontextmanager
async def _connected(
    path: Path, within_seconds: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with short_path(path) as name:
        async with asyncio.timeout(within_seconds):
            reader, writer = await asyncio.open_unix_connection(name, limit=LINE_BYTES)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
