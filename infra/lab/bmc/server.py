"""Serves all BMCs of a process on one port: listens once, and tells machines apart by the connection's local address.

Connections are accepted here and not by asyncio's server, so that a BMC can have a certificate of its own, or stay
silent before the TLS handshake.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from aiohttp import web
from pydantic import SecretStr

from infra.lab.bmc.certificate import TlsFiles, ensure_certificate
from infra.lab.bmc.emulator import Emulator
from infra.lab.bmc.faults import SOUND
from infra.lab.bmc.hardware import Hardware
from pachon.errors import PermanentError
from pachon.model.facility import Serial

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 5.0
BACKLOG = 4096


@asynccontextmanager
async def serving(
    hardware: Hardware,
    folder: Path,
    *,
    bind: str,
    port: int,
    tls: TlsFiles | None,
    users: Mapping[str, SecretStr],
    addresses: Mapping[IPv4Address, Serial] | None = None,
    device: str = "",
    media_sources: Mapping[Serial, IPv4Address] | None = None,
) -> AsyncIterator[int]:
    """The port on which the BMCs answer while the block lasts (``port`` 0 takes a free one).

    ``folder`` keeps the settings; ``addresses`` says which BMC answers where (default: ``bmc_address`` of each
    machine), ``device`` a network interface to which the port is confined, ``media_sources`` the address that each BMC
    fetches virtual media from (default: its own); without ``tls`` it is plain HTTP.

    Raises:
        PermanentError: the port cannot be bound.
    """
    places = addresses or {each.machine.bmc_address: serial for serial, each in hardware.facts.items()}
    emulator = Emulator(hardware, folder, addresses=places, users=users, media_sources=media_sources)
    runner = web.AppRunner(
        emulator.application(),
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        handle_signals=False,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    listener = _listen(bind, port, device)
    door = _Door(emulator, runner, tls)
    task = asyncio.create_task(door.accept(listener))
    try:
        yield int(listener.getsockname()[1])
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listener.close()
        door.close()
        await runner.cleanup()


def confine(listener: socket.socket, device: str) -> None:
    """Let only connections over this network interface in, where the kernel lets everybody say so (Linux 5.7).

    Elsewhere the port is open to others, who get nothing: no machine has their address.
    """
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")


def _listen(bind: str, port: int, device: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if device:
            confine(listener, device)
        listener.bind((bind, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PermanentError(
            f"the BMCs cannot listen on {bind}:{port}: {error.strerror}", cure="see who does: ss -ltnp"
        ) from error
    return listener


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    return context


class _Door:
    """Accepts connections and hands each to aiohttp under the right certificate."""

    def __init__(self, emulator: Emulator, runner: web.AppRunner, tls: TlsFiles | None) -> None:
        self._emulator = emulator
        self._server = runner.server
        self._context = _context(tls) if tls is not None else None
        self._other: ssl.SSLContext | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: set[socket.socket] = set()

    async def accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOBUFS):
                    raise
                await asyncio.sleep(0.05)
                continue
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(self._welcome(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for connection in self._silent:
            connection.close()

    async def _welcome(self, connection: socket.socket) -> None:
        serial = self._emulator.serial_at(str(connection.getsockname()[0]))
        faults = self._emulator.faults.of(serial) if serial is not None else SOUND
        if serial is None or self._server is None:
            connection.close()
            return
        if faults.no_answer:
            await self._stay_silent(connection)
            return
        context = self._context
        if context is not None and faults.tls_changed:
            context = self._other = self._other or _strange_context()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._server,
                connection,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if context is not None else None,
                ssl_shutdown_timeout=1.0 if context is not None else None,
            )
        except (OSError, ssl.SSLError) as error:
            log.debug("%s: connection lost in the handshake: %s", serial, error)
            connection.close()

    async def _stay_silent(self, connection: socket.socket) -> None:
        """Read and answer nothing until the client gives up."""
        self._silent.add(connection)
        try:
            with contextlib.suppress(OSError):
                while await asyncio.get_running_loop().sock_recv(connection, 4096):
                    pass
        finally:
            self._silent.discard(connection)
            connection.close()


def _strange_context() -> ssl.SSLContext:
    with tempfile.TemporaryDirectory() as folder:
        return _context(ensure_certificate(Path(folder), now=datetime.now(UTC)))
