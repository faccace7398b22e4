"""Users of a service behind a front door: so many requests a second, each of which is counted as it ended."""

import asyncio
import contextlib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

A_SECOND = 50
CLIENTS = 10
KEPT = 25
"""Requests over one connection; then the client comes anew."""
PATIENCE_SECONDS = 60.0


@dataclass
class Users:
    """Users of one service, and how their requests ended."""

    address: str
    """Of the front door."""
    name: str
    """Under which they ask for the service."""
    path: str
    trust: Path
    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    """By status and by what answered, as its Server header says."""
    failed: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def sent(self) -> int:
        """How many requests have ended."""
        return sum(self.answers.values()) + sum(not each.startswith("status") for each in self.failed)

    def by_server(self) -> dict[str, int]:
        """Good answers by what gave them."""
        found: Counter[str] = Counter()
        for (status, server), number in self.answers.items():
            found[server] += number if status == 200 else 0
        return dict(found)

    async def run(self) -> None:
        """Ask until it is over; each client at its own pace, so that a slow answer is not waited for by others."""
        trust = ssl.create_default_context(cafile=str(self.trust))
        await asyncio.gather(*(self._client(trust, number) for number in range(CLIENTS)))

    async def _client(self, trust: ssl.SSLContext, number: int) -> None:
        pause = CLIENTS / A_SECOND
        due = asyncio.get_running_loop().time() + pause * number / CLIENTS
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        asked = 0
        while not self.over.is_set():
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, due - now))
            due = max(due + pause, now - 1)
            try:
                if link is None or asked % KEPT == 0:
                    if link is not None:
                        link[1].close()
                    connecting = asyncio.open_connection(self.address, 443, ssl=trust, server_hostname=self.name)
                    link = await asyncio.wait_for(connecting, PATIENCE_SECONDS)
                status, server = await asyncio.wait_for(self._ask(*link), PATIENCE_SECONDS)
            except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {error!r}")
                link = None
                continue
            asked += 1
            self.answers[status, server] += 1
            if status != 200:
                self.failed.append(f"status {status} of {server or 'the front door'} at {time.strftime('%H:%M:%S')}")
        if link is not None:
            link[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, str]:
        writer.write(f"GET {self.path} HTTP/1.1\r\nHost: {self.name}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:])}
        await reader.readexactly(int(fields.get("content-length", 0)))
        return int(head[0].split(" ")[1]), fields.get("server", "").strip()


@contextlib.contextmanager
def asking(users: Users) -> Iterator[Users]:
    """The users, who ask for as long as the block lasts; what is under way then ends first."""
    thread = threading.Thread(target=lambda: asyncio.run(users.run()))
    thread.start()
    try:
        yield users
    finally:
        users.over.set()
        thread.join()
