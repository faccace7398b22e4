"""SSH of all twin hosts on one port: the address a connection came in on says which host is meant.

Each host shows the key it made and the certificate the site signed, and lets in whom its disk says: user certificates
of the facility's users CAs, under the principals of its orders. There is no shell behind it.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import asyncssh

from infra.lab.twin import faults, programs
from infra.lab.twin.disk import Disk
from infra.lab.twin.machines import TwinHardware
from pachon.drivers.channels import RESIDENT
from pachon.drivers.sent_program import RUNNER, unpacked
from pachon.errors import PachonError
from pachon.model.facility import Serial

log = logging.getLogger(__name__)

LOGIN_SECONDS = 60
ERRORS = (IndexError, ValueError, KeyError, TypeError, programs.NotKnownError)


class SshDoor:
    """Accepts connections for every running twin host."""

    def __init__(self, hardware: TwinHardware, folder: Path, serials: Mapping[IPv4Address, Serial]) -> None:
        self._hardware = hardware
        self._folder = folder
        self._serials = {str(address): serial for address, serial in serials.items()}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[Serial, set[asyncssh.SSHServerConnection]] = {}

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("ssh: cannot accept: %s", error)
                await asyncio.sleep(0.05)
                continue
            task = asyncio.create_task(self._welcome(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Hang up on everybody."""
        for task in self._tasks:
            task.cancel()
        for connections in self._open.values():
            for connection in list(connections):
                connection.abort()

    def hang_up(self, serial: Serial) -> None:
        """Hang up on the sessions of a host that stops."""
        for connection in list(self._open.get(serial, ())):
            connection.abort()

    async def _welcome(self, connection: socket.socket) -> None:
        serial = self._serials.get(str(connection.getsockname()[0]))
        try:
            disk = self._hardware.system(serial) if serial is not None else None
        except PachonError as error:
            log.error("%s: %s", serial, error)
            disk = None
        if serial is None or disk is None or (wrong := faults.of(self._folder, serial)).no_ssh:
            connection.close()
            return
        try:
            options = _options(disk, stranger=wrong.stranger_ssh)
            server = await asyncssh.run_server(
                connection,
                options=options,
                server_factory=lambda: _Login(disk, self._open.setdefault(serial, set())),
                process_factory=lambda process: self._process(serial, process),
                encoding=None,
            )
            await server.wait_closed()
        except (asyncssh.Error, OSError, ValueError) as error:
            log.debug("%s: ssh: %s", serial, error)
            connection.close()

    async def _process(self, serial: Serial, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = (process.command or "").strip()
        disk = self._hardware.system(serial)
        status = 127
        if disk is None:
            status = 255
        elif command == RUNNER:
            status = await self._program(serial, process)
        elif command == RESIDENT:
            status = await self._resident(serial, process)
        else:
            answer = _plain(command, disk)
            if answer is None:
                said = f"the twin of {disk.host} has no operating system; it knows no {command!r}\n"
                process.stderr.write(said.encode())
            else:
                process.stdout.write(answer.encode())
                status = 0
        with contextlib.suppress(asyncssh.Error, OSError):
            process.exit(status)

    async def _program(self, serial: Serial, process: asyncssh.SSHServerProcess[bytes]) -> int:
        try:
            answer = self._answer(serial, unpacked(await process.stdin.read()))
        except ERRORS as error:
            process.stderr.write(f"the twin has no answer to this program: {error}\n".encode())
            return 1
        process.stdout.write(json.dumps(answer).encode() + b"\n")
        return 0

    async def _resident(self, serial: Serial, process: asyncssh.SSHServerProcess[bytes]) -> int:
        """What stays on a host as long as its channel (``pachon.drivers.resident_program``)."""
        await process.stdin.readexactly(int(await _line(process.stdin)))
        calls: dict[str, dict[str, Any]] = {}
        while line := await _line(process.stdin):
            told: dict[str, Any]
            try:
                order = json.loads(line)
                if "call" in order:
                    calls[order["program"]] = order["call"]
                told = {"answer": self._answer(serial, calls[order["program"]])}
            except ERRORS as error:
                told = {"failed": f"the twin has no answer to this program: {error}"}
            text = json.dumps(told).encode()
            process.stdout.write(b"%d\n%b" % (len(text), text))
        return 0

    def _answer(self, serial: Serial, call: dict[str, Any]) -> dict[str, Any]:
        """What the host's programs say. Between the read of its disk and the write no other program runs.

        Raises:
            ValueError: it is off.
        """
        disk = self._hardware.system(serial)
        if disk is None:
            raise ValueError("its machine is off")
        drift = faults.of(self._folder, serial).drift
        now, answer = programs.answer(disk, self._hardware.facts[serial].machine, call, drift)
        if now is not disk:
            self._hardware.changed(serial, now)
        return answer


async def _line(reader: asyncssh.SSHReader[bytes]) -> bytes:
    """A line of any length; empty at the end of the stream."""
    whole = b""
    while True:
        try:
            return whole + await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:  # also where a line is longer than what is held at a time
            if not error.partial:
                return b""
            whole += error.partial


class _Login(asyncssh.SSHServer):
    """Lets in the users of one disk's orders."""

    def __init__(self, disk: Disk, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._disk = disk
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        principals = ",".join(self._disk.principals.get(username, ()))
        if principals and self._connection is not None:
            trusted = "".join(
                f'cert-authority,principals="{principals}" {line}\n'
                for line in self._disk.user_ca_public.splitlines()
                if line.strip()
            )
            self._connection.set_authorized_keys(asyncssh.import_authorized_keys(trusted))
        return True

    def password_auth_supported(self) -> bool:
        return False


def _options(disk: Disk, *, stranger: bool) -> asyncssh.SSHServerConnectionOptions:
    key = asyncssh.import_private_key(disk.host_key.get_secret_value())
    certificates = [asyncssh.import_certificate(disk.host_certificate)]
    if stranger:
        key, certificates = asyncssh.generate_private_key("ssh-ed25519"), []
    return asyncssh.SSHServerConnectionOptions(
        server_host_keys=[key],
        server_host_certs=certificates,
        agent_forwarding=False,
        allow_pty=False,
        x11_forwarding=False,
        login_timeout=LOGIN_SECONDS,
        gss_host=None,
    )


def _plain(command: str, disk: Disk) -> str | None:
    """What a few harmless commands print; None for all others."""
    answers = {
        "true": "",
        "hostname": f"{disk.host}\n",
        "uptime": " up, 0 users, load average: 0.00, 0.00, 0.00 (a twin)\n",
        "systemctl is-system-running": "running\n",
        "cat /etc/pachon/stamp.json": disk.stamp,
        "cat /etc/pachon/stamp.json.sig": disk.stamp_signature,
    }
    return answers.get(command)
