"""A world of rollouts on loopback: real processes of a real service behind a front door that shares by weight.

The front door shares exactly (smooth weighted round robin), asks another instance where one does not take the
connection, as HAProxy does, and counts what each version answered: what Prometheus would know.
"""

import asyncio
import contextlib
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pachon.errors import TemporaryError
from pachon.model.rollout import Place, Release
from pachon.rollout.world import Finding
from pachon.store.lease import Lease
from tests.rollouts import NEW, OLD

SERVICE = Path(__file__).with_name("rollout_service.py")
PATIENCE_SECONDS = 60
A_SECOND = 50
"""Requests of the load."""
AT_FIRST = Lease(site="", run_id="", fencing_token=0)
"""Of whoever had it stand before any rollout."""


async def ask(port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer (OSError: there is none)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
        head, _, text = (await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if not head:
        raise ConnectionError("closed without an answer")
    return int(head.split(b" ")[1]), text.decode()


@dataclass
class Instance:
    """A process of the service."""

    version: str
    name: str
    port: int
    process: asyncio.subprocess.Process
    under_way: int = 0
    draining: bool = False


@dataclass
class FrontDoor:
    """Takes users' requests and hands them to instances by the shares of their versions."""

    instances: list[Instance] = field(default_factory=list)
    shares: dict[str, int] = field(default_factory=dict)
    port: int = 0
    answers: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """By version and whether it was a good one."""
    _credit: Counter[str] = field(default_factory=Counter)
    _turn: int = 0

    def choose(self, but: Sequence[Instance]) -> Instance | None:
        """Whose turn it is."""
        able = [each for each in self.instances if not each.draining and each not in but]
        shares = {version: share for version, share in self.shares.items() if share}
        shares = {version: share for version, share in shares.items() if any(each.version == version for each in able)}
        if not shares:
            return None
        if not but:
            self._credit.update(shares)
        version = max(shares, key=lambda each: (self._credit[each], each))
        if not but:
            self._credit[version] -= sum(shares.values())
        own = [each for each in able if each.version == version]
        self._turn += 1
        return own[self._turn % len(own)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a user."""
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        status, said, tried = 503, "nobody is there", list[Instance]()
        while (chosen := self.choose(tried)) is not None:
            tried.append(chosen)
            chosen.under_way += 1
            try:
                status, said = await ask(chosen.port, path)
                self.answers[chosen.version, status == 200] += 1
                break
            except OSError:
                continue
            finally:
                chosen.under_way -= 1
        writer.write(f"HTTP/1.1 {status} Said\r\nConnection: close\r\n\r\n{said}".encode())
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


@dataclass
class ProcessWorld:
    """The world of one place."""

    behaviour: str
    """Of the new release."""
    comes_up_after: int = 0
    """Requests that users make before a new instance is up: some take their time."""
    door: FrontDoor = field(default_factory=FrontDoor)
    load: "Load" = field(default_factory=lambda: Load())  # noqa: PLW0108 - it is defined below

    def now(self) -> datetime:
        """The moment."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def look(self, place: Place) -> Mapping[str, tuple[str, ...]]:
        """What runs."""
        return {version: tuple(each.name for each in self._of(version)) for version in (OLD.version, NEW.version)}

    async def artefacts(self, site: str) -> frozenset[str]:
        """Those of both releases."""
        return frozenset(each.digest for release in (OLD, NEW) for each in release.artefacts)

    def _of(self, version: str, names: Sequence[str] = ()) -> list[Instance]:
        return [each for each in self.door.instances if each.version == version and (not names or each.name in names)]

    async def start(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Start the processes that are not there."""
        sent = self.load.sent
        for name in instances:
            if not self._of(release.version, [name]):
                behaviour = self.behaviour if release == NEW else "works"
                with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
                    port, number = server.getsockname()[1], server.fileno()
                    words = (sys.executable, "-S", "-E", str(SERVICE), str(number), release.version, behaviour)
                    process = await asyncio.create_subprocess_exec(*words, pass_fds=(number,))
                self.door.instances.append(Instance(release.version, name, port, process))
        while release == NEW and self.load.sent < sent + self.comes_up_after:  # noqa: ASYNC110 - users tell nobody
            await asyncio.sleep(0.02)

    async def stop(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Send them nothing more, let them end what they have, end them."""
        for each in self._of(release.version, instances):
            each.draining = True
            while each.under_way:  # noqa: ASYNC110 - as a front door is asked
                await asyncio.sleep(0.01)
            await end(each.process)
            self.door.instances.remove(each)

    async def weigh(self, place: Place, shares_percent: Mapping[str, int], *, lease: Lease) -> None:
        """Share out so."""
        self.door.shares = dict(shares_percent)

    async def health(self, place: Place, release: Release, instances: Sequence[str], probe: str) -> Finding:
        """Ask each."""
        for each in self._of(release.version, instances):
            try:
                status, _ = await ask(each.port, "/health")
            except OSError as error:
                return Finding(False, f"{each.name} does not answer: {error}")
            if status != 200:
                return Finding(False, f"{each.name} answers {status}")
        return Finding(True, "answers")

    async def smoke(self, place: Place, release: Release, instance: str, command: Sequence[str]) -> Finding:
        """Use it."""
        port = self._of(release.version, [instance])[0].port if instance else self.door.port
        status, _ = await ask(port, "/smoke")
        return Finding(status == 200, f"it answers {status}")

    async def close(self) -> None:
        """Nothing is held."""

    async def query(self, place: Place, query: str) -> float | None:
        """What Prometheus would know: the new version's share of errors, or its memory."""
        if query == "memory":
            try:
                return float((await ask(self._of(NEW.version)[0].port, "/memory"))[1])
            except OSError as error:
                raise TemporaryError(f"no scrape: {error}") from error
        good, bad = (self.door.answers[NEW.version, each] for each in (True, False))
        return bad / (good + bad) if good + bad else None


async def end(process: asyncio.subprocess.Process) -> None:
    """Have that process ended."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


@dataclass
class Load:
    """Users: so many requests a second, each a connection of its own."""

    sent: int = 0
    failed: list[str] = field(default_factory=list)
    by_version: Counter[str] = field(default_factory=Counter)

    async def run(self, port: int) -> None:
        """Until it is cancelled; then what is under way ends first."""
        loop, asked = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        due = loop.time()
        try:
            while True:
                self.sent += 1
                asked.add(asyncio.create_task(self._one(port)))
                asked = {task for task in asked if not task.done()}
                due = max(due + 1 / A_SECOND, loop.time() - 1)
                await asyncio.sleep(max(0, due - loop.time()))
        finally:
            if asked:
                await asyncio.wait(asked)

    async def _one(self, port: int) -> None:
        try:
            status, said = await ask(port, "/")
        except OSError as error:
            self.failed.append(str(error))
            return
        self.by_version[said] += 1
        if status != 200:
            self.failed.append(f"{status} {said}")


@contextlib.asynccontextmanager
async def standing(place: Place, world: ProcessWorld) -> AsyncIterator[ProcessWorld]:
    """The world with the old release serving and users at it; all of its processes end with it."""
    server = await asyncio.start_server(world.door.serve, "127.0.0.1", 0, backlog=1024)
    world.door.port = server.sockets[0].getsockname()[1]
    users = None
    try:
        await world.start(place, OLD, place.instances, lease=AT_FIRST)
        await world.weigh(place, {OLD.version: 100, NEW.version: 0}, lease=AT_FIRST)
        while not (await world.health(place, OLD, place.instances, "https")).passed:  # noqa: ASYNC110 - so too
            await asyncio.sleep(0.02)
        users = asyncio.create_task(world.load.run(world.door.port))
        yield world
    finally:
        if users is not None:
            users.cancel()
            await asyncio.wait({users})
        for each in world.door.instances:
            await end(each.process)
        server.close()
