"""Channels to hosts that stay open, each with one process at its other end that carries out programs on demand.

A look costs a host neither a login nor the start of a Python then. The texts of programs are those that are run cold;
a channel that breaks is opened anew within the same call, so that what is told never depends on how long it was open.
"""

import asyncio
import hashlib
import json
import socket
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from pachon.drivers.ssh import Act, Credentials, Detours, Fleet, Host, Trust, connect
from pachon.drivers.ssh_library import asyncssh
from pachon.errors import PermanentError, TemporaryError

PROGRAM = Path(__file__).with_name("resident_program.py")
BOOTSTRAP = "import os;f=os.fdopen(os.dup(0),'rb');exec(f.read(int(f.readline())));stay(f)"
RESIDENT = f'sudo -n /usr/bin/python3 -I -c "{BOOTSTRAP}"'
UNHEARD_MILLISECONDS = 3000
"""What a host's kernel does not acknowledge for so long was sent to nobody: its channel is given up."""
IDLE_SECONDS, BETWEEN_SECONDS, PROBES = 15, 5, 3
"""After how long the kernel asks an idle connection whether it is still there, and how often."""
LOGIN_AND_MORE = timedelta(seconds=10)


class BrokenError(TemporaryError):
    """The channel broke before the host had answered."""


class Channel(Host):
    """An open connection to one host, with a process there that stays."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.connection, name=host.name)
        self._turn = asyncio.Lock()
        self._session: _Session | None = None
        self._sent: dict[str, bytes] = {}
        """By program, what the process there has of its last call."""
        _watch_by_kernel(host.connection)

    async def run_program(
        self, program_text: str, call: Mapping[str, Any], *, timeout: timedelta = timedelta(minutes=5)
    ) -> dict[str, Any]:
        """As ``Host.run_program``; calls wait for each other.

        Raises:
            BrokenError: the channel broke; what was asked may or may not have been begun.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    told = json.loads(await self._asked(program_text, call))
            except TimeoutError as error:
                self._end()
                raise TemporaryError(
                    f"python3 on {self.name} did not end within {timeout.total_seconds():g} s",
                    cure="run again; see what the host is doing",
                ) from error
            except asyncio.CancelledError:
                self._end()  # its answer would be taken for that of the next call
                raise
            except (asyncssh.Error, OSError, ValueError) as error:
                self._end()
                raise BrokenError(f"the connection to {self.name} broke: {error}", cure="run again") from error
        if "failed" in told:
            raise PermanentError(f"{self.name}: status 1: {told['failed']}", cure="see the host")
        answer = told.get("answer")
        if not isinstance(answer, dict):
            raise PermanentError(f"{self.name}: the program answered no JSON object", cure="see the program")
        return answer

    async def _asked(self, program_text: str, call: Mapping[str, Any]) -> bytes:
        if self._session is None:
            self._sent = {}
            session = _Session()
            await self.connection.create_session(lambda: session, RESIDENT, encoding=None)
            session.send(_resident())
            self._session = session
        session = self._session
        name = _name(program_text)
        order: dict[str, Any] = {"program": name}
        packed = json.dumps(call, ensure_ascii=False, allow_nan=False).encode()
        digest = hashlib.blake2b(packed, digest_size=16).digest()
        parts = [json.dumps(order)[:-1].encode()]
        if name not in self._sent:
            parts.append(b'"text": ' + json.dumps(program_text).encode())
        if self._sent.get(name) != digest:
            parts.append(b'"call": ' + packed)
            self._sent[name] = digest
        return await session.ask(b", ".join(parts) + b"}\n")

    def _end(self) -> None:
        """Let go of the process: it ends, and the next call starts another."""
        if self._session is not None:
            self._session.end()
            self._session = None


class Channels(Fleet):
    """Channels to many hosts, one each, opened when first used and again after they broke."""

    def __init__(self, credentials: Credentials, *, detours: Detours | None = None) -> None:
        super().__init__(credentials, detours=detours)

    async def _through(self, act: Act, address: str, *, port: int, alias: str) -> dict[str, Any]:
        """As of ``Fleet``; over a new connection where the one that was open broke."""
        for channel in (self.open_to(address, port=port), None):
            known = channel is not None and channel.is_open
            host = await self.host(address, port=port, alias=alias)
            try:
                return await act(host)
            except BrokenError:
                self.hang_up(address, host, port=port)
                if not known:
                    raise
        raise AssertionError("the second time it was not known")

    async def _connected(self, address: str, *, port: int, alias: str, trust: Trust) -> Host:
        return Channel(
            await connect(
                address,
                credentials=self._credentials,
                port=port,
                alias=alias,
                trust=trust,
                keepalive=timedelta(),
            )
        )


class _Session(asyncssh.SSHClientSession[bytes]):
    """The bytes to and from the process at the other end: one order, one answer."""

    def __init__(self) -> None:
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._got = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            return  # what sudo has to say
        self._got += data
        head, found, _ = bytes(self._got[:24]).partition(b"\n")
        if found and len(self._got) >= len(head) + 1 + int(head):
            whole = bytes(self._got[len(head) + 1 :])
            self._got.clear()
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(whole)

    def eof_received(self) -> bool:
        self._lost(ConnectionError("the process there ended"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc or ConnectionError("the channel was closed"))

    def send(self, text: bytes) -> None:
        """Send these bytes."""
        if self._channel is None or self._channel.is_closing():
            raise ConnectionError("the channel is closed")
        self._channel.write(text)

    async def ask(self, order: bytes) -> bytes:
        """The answer to this order."""
        self._answer = asyncio.get_running_loop().create_future()
        self.send(order)
        return await self._answer

    def end(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.abort()

    def _lost(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif self._channel is not None:
            self._channel.abort()


def _watch_by_kernel(connection: asyncssh.SSHClientConnection) -> None:
    """Have the kernel find out when nobody is there any more: asking thousands of hosts ourselves costs too much."""
    own = connection.get_extra_info("socket")
    if own is None:
        return
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_MILLISECONDS)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, BETWEEN_SECONDS)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


@lru_cache(maxsize=32)
def _name(program_text: str) -> str:
    return hashlib.blake2b(program_text.encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=1)
def _resident() -> bytes:
    text = PROGRAM.read_bytes()
    return b"%d\n%b" % (len(text), text)
