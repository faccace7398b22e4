"""Configures a site's hosts while its stacks still run: as they come to stand, many together.

So one slow machine does not hold up the others. Whoever runs the stacks says which hosts stand, or lets it hear that
from the events of the stacks.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from pachon.layers.hosts import SiteHosts, Trouble
from pachon.model.facility import HostName
from pachon.progress import Event, Progress, silent

GATHER_SECONDS = 1.0
"""So long is waited for a further host to stand, before those that do are played."""
PATIENCE_SECONDS = 120.0
"""So long, while most hosts are still to come: deploys want the processor, and few plays cost less than many."""
LANES = 5
"""Plays at a site at the same time: who comes late need not wait until the many are through. With three, one late host
and those with volumes had the emulated machine, for which all wait at the end, stand idle for minutes."""


@dataclass
class Tap:
    """Passes events on, and to one more listener."""

    shown: Progress
    listener: Progress = silent

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.shown(event)
        self.listener(event)


@dataclass
class Configuring:
    """The hosts of a site on their way to being configured."""

    layer: SiteHosts
    expected: set[HostName]
    """Hosts that may still come to stand."""
    withheld: frozenset[HostName] = frozenset()
    """Hosts that are not to be played when they are heard to stand: they wait for their volumes."""
    troubles: list[Trouble] = field(default_factory=list)
    heard: set[HostName] = field(default_factory=set)
    """Hosts that were told to stand."""
    _ready: list[HostName] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _stood: asyncio.Event = field(default_factory=asyncio.Event)
    _choosing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _closed: bool = False
    _ended: bool = False
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def listen(self, event: Event) -> None:
        """Take an event of a stack; from any thread."""
        made = event.state == "done" and not event.message.startswith("delete")
        if made and event.stage in ("network", "compute") and "/host/" in event.address:
            self._loop.call_soon_threadsafe(self._stands, event.address.rpartition("/")[2])

    def _stands(self, name: HostName) -> None:
        self.heard.add(name)
        if name not in self.withheld:
            self.add([name])
        self._stood.set()

    def add(self, names: Iterable[HostName]) -> None:
        """Have these hosts, which stand, configured."""
        for name in names:
            if name in self.expected:
                self.expected.discard(name)
                self._ready.append(name)
        self._more.set()

    def close(self) -> None:
        """Say that no host will come to stand any more."""
        self._closed = True
        self._more.set()

    def stacks_ended(self) -> None:
        """Say that the stacks that make hosts have ended."""
        self._ended = True
        self._stood.set()

    async def until_stand(self, names: Iterable[HostName]) -> None:
        """Return once all these hosts were told to stand, or the stacks that make hosts have ended."""
        wanted = set(names)
        while not (wanted <= self.heard or self._ended):
            self._stood.clear()
            await self._stood.wait()

    async def run(self) -> None:
        """Configure hosts until there are no more to come; what failed is in ``troubles``.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        await asyncio.gather(*(self._lane(number) for number in range(LANES)))

    async def _lane(self, number: int) -> None:
        while batch := await self._next():
            self.troubles += await self.layer.play(batch, lane=number)

    async def _next(self) -> list[HostName]:
        async with self._choosing:
            return await self._batch()

    async def _batch(self) -> list[HostName]:
        """The next hosts that stand, in the definition's order; none when all is done."""
        while not self._ready:
            if self._closed or not self.expected:
                return []
            self._more.clear()
            await self._more.wait()
        await self._gather()
        ready, self._ready = self._ready, []
        order = [host.name for host in self.layer.site.active_hosts]
        return sorted(ready, key=order.index)

    async def _gather(self) -> None:
        """Give others that are about to stand time to join."""
        loop = asyncio.get_running_loop()
        number, since = len(self._ready), loop.time()
        while self.expected and not self._closed:
            await asyncio.sleep(GATHER_SECONDS)
            if len(self._ready) != number:
                number, since = len(self._ready), loop.time()
            elif number >= len(self.expected) or loop.time() - since >= PATIENCE_SECONDS:
                return
