"""Connections to hosts for testinfra: few open at once, each with time limits, strict about host keys."""

import time
from collections import OrderedDict
from typing import Any

import paramiko
from testinfra.backend.base import BaseBackend, CommandResult  # type: ignore[import-untyped]  # it has no stubs

from pachon.drivers.testinfra.orders import Orders, Target
from pachon.errors import PachonError, PermanentError, TemporaryError

WINDOW_BYTES = 16 << 20
"""What a command may print on one stream before the other was read."""


class Connections:
    """Open connections by host; the one not used for longest gives way to a new one."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._open: OrderedDict[str, paramiko.SSHClient] = OrderedDict()
        self._unreachable: dict[str, PachonError] = {}

    def transport(self, target: Target) -> paramiko.Transport:
        """A live connection to the host.

        Raises:
            PachonError: it cannot be reached; the same error again without another try once that was found.
        """
        if known := self._unreachable.get(target.name):
            raise known
        client = self._open.get(target.name)
        transport = client.get_transport() if client is not None else None
        if transport is None or not transport.is_active():
            self._close(target.name)
            while len(self._open) >= self._orders.connections:
                self._close(next(iter(self._open)))
            client = self._connect(target)
            self._open[target.name] = client
            transport = client.get_transport()
        self._open.move_to_end(target.name)
        if transport is None:
            raise TemporaryError(f"{target.name} closed the connection", cure="run again")
        return transport

    def close(self) -> None:
        """Close all of them."""
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        client = self._open.pop(name, None)
        if client is not None:
            client.close()

    def _connect(self, target: Target) -> paramiko.SSHClient:
        seconds = self._orders.connect_seconds
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.load_host_keys(str(self._orders.known_hosts))
            client.connect(
                target.address,
                port=target.port,
                username=self._orders.user,
                key_filename=str(self._orders.key),
                allow_agent=False,
                look_for_keys=False,
                timeout=seconds,
                banner_timeout=seconds,
                auth_timeout=seconds,
            )
        except (OSError, paramiko.SSHException, EOFError) as error:
            client.close()
            trouble = unreachable(target, error)
            self._unreachable[target.name] = trouble
            raise trouble from error
        return client


def unreachable(target: Target, error: BaseException) -> PachonError:
    """The error for people: why the host cannot be reached and what to do."""
    where = f"{target.name} ({target.address})"
    match error:
        case paramiko.BadHostKeyException():
            return PermanentError(
                f"{where} shows another host key than the one recorded at its deployment",
                cure=f"find out who answers there: pachon machine show {target.name}",
            )
        case paramiko.AuthenticationException():
            return PermanentError(
                f"{where} refuses our certificate", cure="'pachon up' renews it; check the clocks of both sides"
            )
        case paramiko.SSHException() if "not found in known_hosts" in str(error):
            return PermanentError(
                f"{where} has no recorded host key", cure="it was not deployed by pachon: run 'pachon up'"
            )
        case FileNotFoundError():
            return PermanentError(
                f"there is no {error.filename}: nothing was deployed yet", cure="run 'pachon up' first"
            )
        case TimeoutError():
            said = "no answer in time"
        case paramiko.ssh_exception.NoValidConnectionsError():
            reasons = {getattr(reason, "strerror", None) or str(reason) for reason in error.errors.values()}
            said = " and ".join(sorted(reasons))
        case _:
            said = str(error) or type(error).__name__
    return TemporaryError(
        f"{where} cannot be reached: {said}", cure=f"see whether it is on: pachon machine power {target.name} status"
    )


class FleetBackend(BaseBackend):  # type: ignore[misc]  # it has no stubs
    """testinfra's way to a host, by a pooled connection; commands run as root through sudo."""

    NAME = "pachon"

    def __init__(self, target: Target, connections: Connections, *, command_seconds: float) -> None:
        super().__init__(target.name, sudo=True)
        self._target = target
        self._connections = connections
        self._command_seconds = command_seconds
        self._encoding = "UTF-8"

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """What the command printed and how it ended.

        Raises:
            TemporaryError: it ran longer than a command may, or the connection broke.
        """
        text = self.get_command(command, *args)
        line = text.encode()
        deadline = time.monotonic() + self._command_seconds
        transport = self._connections.transport(self._target)
        try:
            channel = transport.open_session(window_size=WINDOW_BYTES, timeout=self._command_seconds)
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise TemporaryError(f"{self._target.name} broke the connection: {error}", cure="run again") from error
        with channel:
            try:
                channel.exec_command(text)
                stdout = _read(channel, "stdout", deadline)
                stderr = _read(channel, "stderr", deadline)
                channel.status_event.wait(max(0.0, deadline - time.monotonic()))
                if not channel.exit_status_ready():
                    raise TimeoutError
            except TimeoutError as error:
                raise TemporaryError(
                    f"a command on {self._target.name} did not end within {self._command_seconds:g} s: {command}",
                    cure="see what it waits for; --command-limit allows more",
                ) from error
            except (OSError, paramiko.SSHException, EOFError) as error:
                raise TemporaryError(f"{self._target.name} broke the connection: {error}", cure="run again") from error
            return self.result(channel.recv_exit_status(), line, stdout, stderr)


def _read(channel: paramiko.Channel, stream: str, deadline: float) -> bytes:
    receive = channel.recv if stream == "stdout" else channel.recv_stderr
    pieces: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel.settimeout(left)
        piece = receive(1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
