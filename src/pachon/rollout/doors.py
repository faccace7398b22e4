"""All front doors of a site as one: each is told the same, and all of them have done it when a call returns.

Every call may be made again, and leaves users served wherever it is cut off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from pachon.drivers.front_door import FrontDoor, Server, Wanted
from pachon.errors import TemporaryError
from pachon.rollout import slots

Servers = Mapping[str, Sequence[str]]
"""Names of servers by version."""
T = TypeVar("T")


class Doors:
    """The front doors of a site, by the name of their host.

    Every call raises ``TemporaryError`` where one of them is away or did not take it, once the others have done it.
    """

    def __init__(self, doors: Mapping[str, FrontDoor]) -> None:
        self._doors = doors

    async def weigh(self, backend: str, shares_percent: Mapping[str, int], servers: Servers) -> None:
        """Have requests shared out so among versions, the one that takes over being the second.

        Raises:
            PermanentError: a version is to get requests and no server has it.
            RefusedError: a front door has no such server.
            TemporaryError: a front door sees no server of such a version answer yet.
        """
        wanted = slots.weights(shares_percent, servers)
        coming = [name for version in list(shares_percent)[1:] for name in servers.get(version, ())]

        async def one(name: str, door: FrontDoor) -> None:
            seen = {server.name: server for server in await door.servers(backend)}
            for version, share in shares_percent.items():
                own = [seen[each] for each in servers.get(version, ()) if each in seen]
                if share and not any(map(_serves, own)):
                    told = "; ".join(f"{each.name} {each.wanted}, {each.check}" for each in own) or "it has none of it"
                    raise TemporaryError(
                        f"the front door {name} sees nothing of {version} answer yet: {told}",
                        cure="it looks every second or two",
                    )
            now = {each: seen[each].weight if each in seen else 0 for each in wanted}
            if changes := slots.in_turn(now, wanted, coming=coming):
                await door.set_weights(backend, changes)

        await self._each(one)

    async def hold_back(self, backend: str, names: Sequence[str]) -> None:
        """Have these checked, and have them get nothing until they are given a share."""

        async def one(_: str, door: FrontDoor) -> None:
            await door.set_weights(backend, dict.fromkeys(names, 0))
            await door.ready(backend, names)

        await self._each(one)

    async def drain(self, backend: str, names: Sequence[str]) -> None:
        """Have these end what they were asked and be asked nothing more."""

        async def one(_: str, door: FrontDoor) -> None:
            seen = {server.name: server for server in await door.servers(backend)}
            if taking := [name for name in names if name not in seen or seen[name].wanted is Wanted.READY]:
                await door.drain(backend, taking)

        await self._each(one)

    async def under_way(self, backend: str, names: Sequence[str]) -> int:
        """What these have not ended yet."""

        async def one(_: str, door: FrontDoor) -> int:
            return sum(server.connections for server in await door.servers(backend) if server.name in names)

        return sum(await self._each(one))

    async def close(self, backend: str, names: Sequence[str]) -> None:
        """Have these get nothing, whoever asks, and be checked no more."""

        async def one(_: str, door: FrontDoor) -> None:
            await door.maintain(backend, names)
            await door.set_weights(backend, dict.fromkeys(names, 0))

        await self._each(one)

    async def _each(self, ask: Callable[[str, FrontDoor], Awaitable[T]]) -> list[T]:
        """What came of asking each; the first error once all were asked, one that is not temporary before others."""

        async def named(name: str, door: FrontDoor) -> T:
            try:
                return await ask(name, door)
            except TemporaryError as error:
                if name in error.message:
                    raise
                raise TemporaryError(f"the front door {name}: {error.message}", cure=error.cure) from error

        done = await asyncio.gather(*(named(name, door) for name, door in self._doors.items()), return_exceptions=True)
        failed = [each for each in done if isinstance(each, BaseException)]
        for error in sorted(failed, key=lambda each: isinstance(each, TemporaryError)):
            raise error
        return [each for each in done if not isinstance(each, BaseException)]


def _serves(server: Server) -> bool:
    return server.healthy and server.wanted is Wanted.READY
