"""Hosts of the fleet by SSH (asyncssh): certificates on both sides, nothing from the user's own configuration.

Hidden here: how trust is loaded, how vendor errors become ours, and how a Python program is run on a host without a
word of it in any argument list.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pachon.drivers.sent_program import RUNNER, packed
from pachon.drivers.ssh_library import asyncssh, sign_at_once
from pachon.errors import PachonError, PermanentError, TemporaryError

CONNECT_SECONDS = 5.0
"""For a host to take the connection."""
HANDSHAKE_SECONDS = 15.0
"""For keys and login: longer, since it is we who are slow where thousands are connected to."""
OPENING_SECONDS = 5.0
"""How much longer than its time limit a command may take, for its session to be opened."""
KEEPALIVE_SECONDS = 15
CONNECTING_AT_ONCE = 32
CLOSE_SECONDS = 1.0
RETRY_SECONDS = 0.3
HOST_KEY_ALGORITHMS = ["ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"]
"""The bare key is never believed; it is offered so that a host without a certificate gets the right complaint."""
CIPHERS = ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr"]
"""The cheapest first, as our hosts have it."""


@dataclass(frozen=True)
class Credentials:
    """Who we are and whom we believe."""

    known_hosts: Path
    """With ``@cert-authority`` lines; nobody else is believed."""
    key: Path
    certificate: Path
    username: str = "pachon"

    @classmethod
    def of_state(cls, state: Path) -> Self:
        """Those of the automation principal in a facility's state folder."""
        keys = state / "keys"
        return cls(known_hosts=state / "known_hosts", key=keys / "automation", certificate=keys / "automation-cert.pub")


@dataclass(frozen=True)
class Trust:
    """What credentials name, read; to be shared by many connections."""

    known_hosts: asyncssh.SSHKnownHosts
    keys: Sequence[asyncssh.SSHKeyPair]


class Host:
    """An open connection to one host."""

    def __init__(self, connection: asyncssh.SSHClientConnection, *, name: str) -> None:
        self._connection = connection
        self.name = name

    @property
    def connection(self) -> asyncssh.SSHClientConnection:
        """What it stands on."""
        return self._connection

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed by either side."""
        return not self._connection.is_closed()

    async def run(self, command: str, *, stdin: str | bytes = "", timeout: timedelta = timedelta(minutes=1)) -> str:
        """What the command printed.

        Raises:
            PermanentError: it ended with another status than 0.
            TemporaryError: it took too long, or the connection broke.
        """
        try:
            text = stdin.encode() if isinstance(stdin, str) else stdin
            given: dict[str, Any] = {"input": text} if text else {"stdin": asyncssh.DEVNULL}
            # asyncssh counts from when the session is open, and a host that is cut off never opens it.
            async with asyncio.timeout(timeout.total_seconds() + OPENING_SECONDS):
                done = await self._connection.run(command, timeout=timeout.total_seconds(), encoding=None, **given)
        except (asyncssh.ProcessError, TimeoutError) as error:
            raise TemporaryError(
                f"{command.split(maxsplit=1)[0]} on {self.name} did not end within {timeout.total_seconds():g} s",
                cure="run again; see what the host is doing",
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise TemporaryError(f"the connection to {self.name} broke: {error}", cure="run again") from error
        stdout, stderr = _text(done.stdout), _text(done.stderr)
        if done.exit_status is None:
            raise TemporaryError(f"the connection to {self.name} broke while a command ran", cure="run again")
        if done.exit_status != 0:
            said = (stderr.strip() or stdout.strip()).splitlines()[-12:]
            raise PermanentError(f"{self.name}: status {done.exit_status}: " + "\n".join(said), cure="see the host")
        return stdout

    async def run_program(
        self, program_text: str, call: Mapping[str, Any], *, timeout: timedelta = timedelta(minutes=5)
    ) -> dict[str, Any]:
        """What the program's ``main(call)`` answered, run as root on the host.

        Program and call travel on standard input only. ``main`` returns its answer or writes it to standard output, as
        one JSON object on the last line.

        Raises:
            PermanentError: it failed there, or answered something else.
            TemporaryError: it took too long, or the connection broke.
        """
        told = await self.run(RUNNER, stdin=packed(program_text, call), timeout=timeout)
        lines = told.strip().splitlines()
        try:
            answer = json.loads(lines[-1])
        except (IndexError, ValueError) as error:
            raise PermanentError(f"{self.name}: the program answered no JSON", cure="see the program") from error
        if not isinstance(answer, dict):
            raise PermanentError(f"{self.name}: the program answered no JSON object", cure="see the program")
        return answer

    def abort(self) -> None:
        """Hang up."""
        self._connection.abort()

    async def close(self) -> None:
        """Say good-bye."""
        self._connection.close()
        await self._connection.wait_closed()


async def connect(
    address: str,
    *,
    credentials: Credentials,
    port: int = 22,
    alias: str = "",
    timeout: timedelta = timedelta(seconds=CONNECT_SECONDS),
    trust: Trust | None = None,
    keepalive: timedelta = timedelta(seconds=KEEPALIVE_SECONDS),
) -> Host:
    """A connection to the host at this address, whose certificate is for ``alias`` (default: the address).

    Raises:
        TemporaryError: nobody answers there (yet).
        PermanentError: its key is not trusted, or it does not let us in.
    """
    sign_at_once()
    trust = trust or read_trust(credentials)
    options = asyncssh.SSHClientConnectionOptions(
        known_hosts=trust.known_hosts,
        host_key_alias=alias or address,
        username=credentials.username,
        client_keys=trust.keys,
        agent_path=None,
        config=[],
        preferred_auth="publickey",
        server_host_key_algs=HOST_KEY_ALGORITHMS,
        encryption_algs=CIPHERS,
        compression_algs=["none"],
        keepalive_interval=keepalive.total_seconds(),
        connect_timeout=HANDSHAKE_SECONDS,
        login_timeout=HANDSHAKE_SECONDS,
        gss_host=None,
    )
    try:
        own = await _taken(address, port, timeout)
        try:
            connection = await asyncssh.connect(sock=own, options=options)
        except BaseException:
            own.close()
            raise
    except asyncssh.HostKeyNotVerifiable as error:
        raise PermanentError(
            f"the host at {address} has no host key that this facility has signed: {error.reason}",
            cure="something else has its address, or it was installed from elsewhere: deploy it again",
        ) from error
    except asyncssh.PermissionDenied as error:
        raise PermanentError(
            f"the host at {address} does not let {credentials.username!r} in: {error.reason}",
            cure="the automation certificate may have ended ('pachon up' renews it) or the host has another users CA",
        ) from error
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise TemporaryError(
            f"no SSH answer from {address} port {port}: {error or type(error).__name__}",
            cure="see that it is powered on and has booted (its console), and that its address is right",
        ) from error
    return Host(connection, name=alias or address)


async def _taken(address: str, port: int, timeout: timedelta) -> socket.socket:
    """A connection to that port, with nothing said yet."""
    own = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        own.setblocking(False)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(timeout.total_seconds()):
            await asyncio.get_running_loop().sock_connect(own, (address, port))
    except BaseException:
        own.close()
        raise
    return own


def read_trust(credentials: Credentials) -> Trust:
    """Whom we believe, and our key with its certificate.

    Raises:
        PermanentError: a file is not there or is not what it should be.
    """
    try:
        return Trust(
            known_hosts=asyncssh.read_known_hosts(str(credentials.known_hosts)),
            keys=asyncssh.load_keypairs([(str(credentials.key), str(credentials.certificate))]),
        )
    except (OSError, ValueError) as error:
        raise PermanentError(
            f"cannot read {credentials.known_hosts} or {credentials.key}: {error}", cure="'pachon up' writes them anew"
        ) from error


async def wait_for_login(
    address: str,
    *,
    credentials: Credentials,
    patience: timedelta,
    port: int = 22,
    alias: str = "",
) -> Host:
    """A connection as soon as the host lets us in.

    A key that is not trusted ends the wait at once; a refused login is tried again, since a host that is just booting
    may not let users in yet.

    Raises:
        PermanentError, TemporaryError: what was in the way at the end.
    """
    return await _patiently(
        lambda: connect(address, credentials=credentials, port=port, alias=alias), patience=patience
    )


async def _patiently(connecting: Callable[[], Awaitable[Host]], *, patience: timedelta) -> Host:
    end = asyncio.get_running_loop().time() + patience.total_seconds()
    while True:
        try:
            return await connecting()
        except PachonError as error:
            untrusted = isinstance(error.__cause__, asyncssh.HostKeyNotVerifiable)
            if untrusted or asyncio.get_running_loop().time() >= end:
                raise
        await asyncio.sleep(RETRY_SECONDS)


class Door(Protocol):
    """Where an address is really reached."""

    @property
    def host(self) -> str:
        """Name or address."""

    @property
    def port(self) -> int:
        """TCP port."""


Detours = Mapping[str, Door]
"""Doors of addresses that are mapped elsewhere: the twin's, which all are on loopback."""


Act = Callable[[Host], Awaitable[dict[str, Any]]]
"""What is done over one host's connection."""


class Fleet:
    """Open connections to many hosts, one each, few being opened at the same time."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        connecting_at_once: int = CONNECTING_AT_ONCE,
        detours: Detours | None = None,
    ) -> None:
        self._credentials = credentials
        self._turns = asyncio.Semaphore(connecting_at_once)
        self.detours = detours or {}
        self._opening: dict[tuple[str, int], asyncio.Task[Host]] = {}
        self._open: dict[tuple[str, int], Host] = {}
        self._read: tuple[tuple[int, ...], Trust] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (begun := list(self._opening.values())):
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        hosts, self._open = list(self._open.values()), {}
        await asyncio.gather(*(host.close() for host in hosts), return_exceptions=True)

    async def leave(self) -> None:
        """Close all, without waiting long for a host that does not say good-bye."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.__aexit__(None, None, None)

    def _where(self, address: str, port: int) -> tuple[str, int]:
        door = self.detours.get(address)
        return (address, port) if door is None else (door.host, door.port)

    @property
    def number_open(self) -> int:
        """How many connections are open."""
        return sum(host.is_open for host in self._open.values())

    def hang_up(self, address: str, host: Host, *, port: int = 22) -> None:
        """Give this connection up; the next use opens another."""
        host.abort()
        where = self._where(address, port)
        if self._open.get(where) is host:
            del self._open[where]

    def open_to(self, address: str, *, port: int = 22) -> Host | None:
        """The connection that is open to this address, if there is one."""
        return self._open.get(self._where(address, port))

    async def host(self, address: str, *, port: int = 22, alias: str = "") -> Host:
        """The open connection to this address, opened if need be (errors as of ``connect``)."""
        if (known := self.open_to(address, port=port)) is not None and known.is_open:
            return known
        return await asyncio.shield(self.begin(address, port=port, alias=alias))

    def begin(self, address: str, *, port: int = 22, alias: str = "") -> "asyncio.Task[Host]":
        """What comes of opening a connection to this address: the same for all who ask meanwhile, be it an error."""
        where = self._where(address, port)
        if where not in self._opening:
            self._opening[where] = asyncio.create_task(self._opened(where, alias or address))
            self._opening[where].add_done_callback(lambda task: self._end(where, task))
        return self._opening[where]

    async def _opened(self, where: tuple[str, int], alias: str) -> Host:
        async with self._turns:
            return await self._connected(where[0], port=where[1], alias=alias, trust=self._trust())

    def _end(self, where: tuple[str, int], task: "asyncio.Task[Host]") -> None:
        self._opening.pop(where, None)
        if not task.cancelled() and task.exception() is None:
            self._open[where] = task.result()

    async def wait_for_login(self, address: str, *, patience: timedelta, port: int = 22, alias: str = "") -> Host:
        """As the function of that name, over this fleet's connection."""
        return await _patiently(lambda: self.host(address, port=port, alias=alias), patience=patience)

    async def _connected(self, address: str, *, port: int, alias: str, trust: Trust) -> Host:
        return await connect(address, credentials=self._credentials, port=port, alias=alias, trust=trust)

    async def run_program(
        self,
        address: str,
        program_text: str,
        call: Mapping[str, Any],
        *,
        port: int = 22,
        alias: str = "",
        timeout: timedelta = timedelta(minutes=5),
    ) -> dict[str, Any]:
        """As ``Host.run_program``, over this fleet's connection."""
        return await self._through(
            lambda host: host.run_program(program_text, call, timeout=timeout), address, port=port, alias=alias
        )

    async def _through(self, act: Act, address: str, *, port: int, alias: str) -> dict[str, Any]:
        return await act(await self.host(address, port=port, alias=alias))

    def _trust(self) -> Trust:
        """The files of trust, read again when one of them was replaced."""
        own = self._credentials
        try:
            changed = tuple(path.stat().st_mtime_ns for path in (own.known_hosts, own.key, own.certificate))
        except OSError:
            return read_trust(own)
        if self._read is None or self._read[0] != changed:
            self._read = (changed, read_trust(own))
        return self._read[1]


def _text(output: object) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else str(output or "")
