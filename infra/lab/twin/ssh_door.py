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

import asyncssh

from infra.lab.twin import faults, programs
from infra.lab.twin.disk import Disk
from infra.lab.twin.machines import TwinHardware
from pachon.drivers.sent_program import RUNNER, unpacked
from pachon.errors import PachonError
from pachon.model.facility import Serial

log = logging.getLogger(__name__)

LOGIN_SECONDS = 10
STDIN_BYTES = 4 << 20


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
            status = await self._program(serial, disk, process)
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

    async def _program(self, serial: Serial, disk: Disk, process: asyncssh.SSHServerProcess[bytes]) -> int:
        sent = await process.stdin.read()
        machine = self._hardware.facts[serial].machine
        try:
            call = unpacked(sent)
            # Between this read of the disk and the write nothing else runs: programs of a host come one by one.
            now, answer = programs.answer(self._hardware.system(serial) or disk, machine, call)
        except (IndexError, ValueError, KeyError, TypeError, programs.NotKnownError) as error:
            process.stderr.write(f"the twin has no answer to this program: {error}\n".encode())
            return 1
        self._hardware.changed(serial, now)
        process.stdout.write(json.dumps(answer).encode() + b"\n")
        return 0


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
