"""The front door of a site, spoken to over SSH: which servers carry a service, and with what weight each.

What is set here holds at once, without a reload, and outlives reloads, restarts and crashes; no play touches it. So
weights and drains are of whoever sets them, a rollout or a person, and the declared weight is only what a server begins
with. A server that differs from it says so (``differs``).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pachon.drivers.front_door_program import FORCED_DRAIN, FORCED_MAINTENANCE
from pachon.drivers.ssh import Host
from pachon.errors import PermanentError, RefusedError, TemporaryError, UsageError

PROGRAM = Path(__file__).with_name("front_door_program.py")
SOCKET = "/run/haproxy/admin.sock"
KEEP = ("/usr/libexec/pachon/front-door-state", "--as-healthy")
TURN = timedelta(seconds=30)
HEAVIEST = 256


class Wanted(StrEnum):
    """What a server was told to do."""

    READY = "ready"
    """Take requests, by its weight."""
    DRAIN = "drain"
    """Finish what it has and take no more, but for clients that are bound to it."""
    MAINTENANCE = "maint"
    """Take nothing, and be checked no more."""


@dataclass(frozen=True)
class Server:
    """A host that carries a service, as a front door sees it."""

    backend: str
    """``<service>.<endpoint>``."""
    name: str
    """Of the host."""
    address: str
    wanted: Wanted
    healthy: bool
    """Whether its checks pass."""
    weight: int
    """Its share of the requests is its weight among those of all that are ready and healthy."""
    declared_weight: int
    check: str
    """What came of its last check, for people."""
    connections: int
    """Now."""

    @property
    def differs(self) -> bool:
        """Whether it is told something else than what it begins with."""
        return self.weight != self.declared_weight or self.wanted is not Wanted.READY


class FrontDoor:
    """One front door; ``open_host`` gives an open connection to its host."""

    def __init__(
        self,
        name: str,
        open_host: Callable[[], Awaitable[Host]],
        *,
        socket: str = SOCKET,
        keep: Sequence[str] = KEEP,
    ) -> None:
        self._name = name
        self._open = open_host
        self._socket = socket
        self._keep = tuple(keep)

    async def servers(self, backend: str = "") -> tuple[Server, ...]:
        """All servers, or those of one backend.

        Raises:
            TemporaryError: host or HAProxy do not answer.
            RefusedError: there is no such backend.
        """
        servers = await self._turn([])
        found = tuple(server for server in servers if backend in ("", server.backend))
        if backend and not found:
            raise self._unknown(backend, servers)
        return found

    async def set_weights(self, backend: str, weights: Mapping[str, int]) -> tuple[Server, ...]:
        """The servers of the backend once these have these weights, 0 to 256; the others keep theirs.

        Raises:
            UsageError: there is no such weight.
            RefusedError: there is no such server; nothing was changed.
            TemporaryError: host or HAProxy do not answer, and nobody knows whether it was done; do it again.
            PermanentError: HAProxy did not do it.
        """
        for name, weight in weights.items():
            if not 0 <= weight <= HEAVIEST:
                raise UsageError(
                    f"{name} of {backend} cannot have the weight {weight}", cure=f"0 to {HEAVIEST} are weights"
                )
        return await self._change(backend, {name: _Change(weight=weight) for name, weight in weights.items()})

    async def drain(self, backend: str, names: Collection[str]) -> tuple[Server, ...]:
        """The servers of the backend once these take no new requests (errors as of ``set_weights``)."""
        return await self._change(backend, {name: _Change(wanted=Wanted.DRAIN) for name in names})

    async def ready(self, backend: str, names: Collection[str]) -> tuple[Server, ...]:
        """The servers of the backend once these take requests again (errors as of ``set_weights``)."""
        return await self._change(backend, {name: _Change(wanted=Wanted.READY) for name in names})

    async def maintain(self, backend: str, names: Collection[str]) -> tuple[Server, ...]:
        """The servers of the backend once these take nothing and are checked no more (errors as of ``set_weights``)."""
        return await self._change(backend, {name: _Change(wanted=Wanted.MAINTENANCE) for name in names})

    async def _change(self, backend: str, changes: "Mapping[str, _Change]") -> tuple[Server, ...]:
        orders = [
            {"backend": backend, "name": name, "weight": each.weight, "state": each.wanted or ""}
            for name, each in changes.items()
        ]
        servers = tuple(server for server in await self._turn(orders) if server.backend == backend)
        now = {server.name: server for server in servers}
        wrong = [name for name, each in changes.items() if not each.holds_of(now[name])]
        if wrong:
            raise PermanentError(
                f"the front door {self._name} did not do as told with {', '.join(wrong)} of {backend}",
                cure="see 'show servers state' on its socket, and who else changes its servers",
            )
        return servers

    async def _turn(self, changes: Sequence[Mapping[str, Any]]) -> tuple[Server, ...]:
        call = {"socket": self._socket, "keep": list(self._keep), "changes": list(changes)}
        host = await self._open()
        answer = await host.run_program(PROGRAM.read_text(), call, timeout=TURN)
        if "away" in answer:
            raise TemporaryError(
                f"HAProxy on the front door {self._name} does not answer: {answer['away']}",
                cure=f"see 'systemctl status haproxy' and 'journalctl -u haproxy' on {self._name}",
            )
        servers = tuple(_server(each) for each in answer["servers"])
        for change in answer["missing"]:
            if not any(server.backend == change["backend"] for server in servers):
                raise self._unknown(change["backend"], servers)
            names = [server.name for server in servers if server.backend == change["backend"]]
            raise RefusedError(
                f"the front door {self._name} has no server {change['name']} for {change['backend']}",
                cure=f"it has {', '.join(names)}: see the placement's group, and 'pachon up'",
            )
        if answer["said"]:
            raise PermanentError(
                f"the front door {self._name} refused: {'; '.join(answer['said'])}", cure="see its HAProxy's version"
            )
        if answer["not_kept"]:
            raise TemporaryError(
                f"the front door {self._name} did as told and did not write it down: {answer['not_kept']}",
                cure="do it again: until then a restart would forget it",
            )
        return servers

    def _unknown(self, backend: str, servers: Sequence[Server]) -> RefusedError:
        known = ", ".join(dict.fromkeys(server.backend for server in servers)) or "nothing"
        return RefusedError(
            f"the front door {self._name} does not answer for {backend}",
            cure=f"it answers for {known}: see 'front' of the service's endpoints and its placement, and 'pachon up'",
        )


@dataclass(frozen=True)
class _Change:
    """What a server is told; None for what stays."""

    weight: int | None = None
    wanted: Wanted | None = None

    def holds_of(self, server: Server) -> bool:
        return self.weight in (None, server.weight) and self.wanted in (None, server.wanted)


def _server(told: Mapping[str, Any]) -> Server:
    admin = int(told["admin"])
    wanted = (
        Wanted.MAINTENANCE if admin & FORCED_MAINTENANCE else Wanted.DRAIN if admin & FORCED_DRAIN else Wanted.READY
    )
    return Server(
        backend=told["backend"],
        name=told["name"],
        address=told["address"],
        wanted=wanted,
        healthy=told["up"],
        weight=told["weight"],
        declared_weight=told["declared_weight"],
        check=" ".join(told["check"]),
        connections=told["connections"],
    )
