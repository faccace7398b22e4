"""BMCs that are kept from one look to the next, some of them open: what costs is the TLS handshake, for both sides.

Of all of them it is kept where they have their system, so that they are asked once where they would be asked thrice.
"""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from pachon.drivers.redfish.bmc import Bmc
from pachon.errors import PachonError

KEPT = 32
"""Open; of a site with more machines the others are opened for each look: open files are few."""
KNOWN = 10_000
KEEP_ALIVE = timedelta(minutes=10)
"""Longer than the pause between two looks; a BMC that hangs up earlier is connected to again."""


class KeptBmcs:
    """Open BMCs by key, each used by one at a time."""

    def __init__(self, *, limit: int = KEPT) -> None:
        self._limit = limit
        self._idle: dict[str, Bmc] = {}
        self._closed: dict[str, Bmc] = {}
        self._lent = 0

    @asynccontextmanager
    async def kept(self, bmc: Bmc, *, key: str) -> AsyncIterator[Bmc]:
        """The BMC that was kept under this key, or else this one, for a block; kept again unless the block failed."""
        closed = self._closed.pop(key, bmc)
        found = self._idle.pop(key, None)
        if found is None and len(self._idle) + self._lent >= self._limit:
            async with closed:
                yield closed
            if len(self._closed) < KNOWN:
                self._closed[key] = closed
            return
        if found is None:
            found = closed
            found.open(keep_alive=KEEP_ALIVE)
        self._lent += 1
        try:
            yield found
        except BaseException:
            with contextlib.suppress(PachonError):
                await found.close()
            raise
        else:
            if key in self._idle:
                await found.close()
            else:
                self._idle[key] = found
        finally:
            self._lent -= 1

    async def close(self) -> None:
        """Close all that are not in use."""
        idle, self._idle = list(self._idle.values()), {}
        for bmc in idle:
            await bmc.close()
