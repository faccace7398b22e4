"""Connections to hosts for testinfra: few open at once, each with time limits, strict about host keys."""

import contextlib
import socket
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import paramiko
from testinfra.backend.base import BaseBackend, CommandResult  # type: ignore[import-untyped]  # it has no stubs

from pachon.drivers.testinfra.orders import Orders, Target
from pachon.drivers.testinfra.shell import RootShell
from pachon.errors import PachonError, PermanentError, TemporaryError

KNOCKING_AT_ONCE = 32


@dataclass
class Connection:
    """An open connection with its root shell."""

    client: paramiko.SSHClient
    transport: paramiko.Transport
    shell: RootShell | None = None


class Connections:
    """Open connections by host; the one not used for longest gives way to a new one."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._open: OrderedDict[str, Connection] = OrderedDict()
        self._unreachable: dict[str, PachonError] = {}

    def knock(self, targets: Sequence[Target]) -> None:
        """Find out, side by side, which hosts nobody answers at: one after the other would wait for each."""

        def answers(target: Target) -> PachonError | None:
            try:
                socket.create_connection((target.address, target.port), timeout=self._orders.connect_seconds).close()
            except OSError as error:
                return unreachable(target, error)
            return None

        if len(targets) > 1:
            with ThreadPoolExecutor(min(KNOCKING_AT_ONCE, len(targets))) as threads:
                for target, trouble in zip(targets, threads.map(answers, targets), strict=True):
                    if trouble is not None:
                        self._unreachable[target.name] = trouble

    def reach(self, target: Target) -> Connection:
        """A live connection to the host.

        Raises:
            PachonError: it cannot be reached; the same error again without another try once that was found.
        """
        if known := self._unreachable.get(target.name):
            raise known
        found = self._open.get(target.name)
        if found is None or not found.transport.is_active():
            self._close(target.name)
            while len(self._open) >= self._orders.connections:
                self._close(next(iter(self._open)))
            client = self._connect(target)
            transport = client.get_transport()
            if transport is None:
                raise TemporaryError(f"{target.name} closed the connection", cure="run again")
            found = self._open[target.name] = Connection(client, transport)
        self._open.move_to_end(target.name)
        return found

    def run(self, target: Target, command: str) -> tuple[int, bytes, bytes]:
        """How a command ended that was run as root, and what it printed on either stream.

        Raises:
            PachonError: the host cannot be reached, the connection broke, or the command took too long.
        """
        connection = self.reach(target)
        if connection.shell is None or not connection.shell.is_open:
            connection.shell = RootShell(connection.transport, target.name, seconds=self._orders.command_seconds)
        try:
            return connection.shell.run(command)
        except PachonError:
            connection.shell.close()
            connection.shell = None
            raise

    def close(self) -> None:
        """Close all of them."""
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        found = self._open.pop(name, None)
        if found is not None:
            with contextlib.suppress(OSError, EOFError):
                found.client.close()

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
        case OSError() if error.strerror:
            said = error.strerror
        case _:
            said = str(error) or type(error).__name__
    return TemporaryError(
        f"{where} cannot be reached: {said}", cure=f"see whether it is on: pachon machine power {target.name} status"
    )


class FleetBackend(BaseBackend):  # type: ignore[misc]  # it has no stubs
    """testinfra's way to a host, by the root shell of a pooled connection."""

    NAME = "pachon"

    def __init__(self, target: Target, connections: Connections) -> None:
        super().__init__(target.name)
        self._target = target
        self._connections = connections
        self._encoding = "UTF-8"

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """What the command printed and how it ended.

        Raises:
            TemporaryError: it ran longer than a command may, or the connection broke.
        """
        text = self.get_command(command, *args)
        status, stdout, stderr = self._connections.run(self._target, text)
        return self.result(status, text.encode(), stdout, stderr)
