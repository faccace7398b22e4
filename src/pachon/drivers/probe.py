"""The probe of hosts: reads or checks, in one round over SSH, what roles left on each of many hosts.

Hidden here: the program that is sent, the key by which secrets count, and that one slow host holds up nobody.
"""

import asyncio
import dataclasses
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from pachon.drivers.ssh import Credentials, Detours, Fleet
from pachon.errors import PachonError, RefusedError, TemporaryError
from pachon.model.manifest import Expected, Subject

PROGRAM = Path(__file__).with_name("probe_program.py")
CACHE = "/var/lib/pachon/probe/digests"
"""On the host, for root only."""
ASIDE = "/var/lib/pachon/strangers"
"""Where strangers are put that lay in folders which are owned whole."""
FENCE = "/var/lib/pachon/fencing-token"
"""The highest token of a writer that was there; what the provider's programs keep it in, too."""
LOOK = timedelta(seconds=15)
"""For one host, once it is connected to; hosts are asked side by side."""
RECORD = timedelta(seconds=90)
"""Longer: what a play left is read once, and a host with an emulated processor is slow after a play."""
AT_ONCE = 64
"""Hosts that are asked side by side."""
EACH = timedelta(milliseconds=200)
"""How much longer all may take for each host there is."""

Seen = Sequence[tuple[int, Mapping[str, Any]]]
"""What differs, by the number of the expectation."""
Values = Sequence[Mapping[str, Any]]
"""What there is, for each subject."""


@dataclass(frozen=True)
class Rest:
    """What is to go from a host."""

    paths: Sequence[str] = ()
    """Put aside, where root still finds it."""
    units: Sequence[str] = ()
    """Stopped and disabled, before anything else."""
    folders: Sequence[str] = ()
    """Removed after them, those that are empty."""
    reload: bool = False
    """Whether systemd is to read its units again, whatever goes."""
    told: Mapping[str, str] = field(default_factory=dict)
    """Units that take notice at the end, those that run: each ``reloaded`` or ``restarted``."""
    rules: bool = False
    """Whether the packet filter is to have the rules of the host's files and nothing else: no table of a stranger."""


@dataclass(frozen=True)
class Probe:
    """Asks hosts of one facility; ``addresses`` are those of the management segment."""

    credentials: Credentials
    key: bytes
    """Of this facility, for digests of secrets; each host gets one of its own that is made from it."""
    fleet: Fleet | None = None
    """Connections that are somebody else's to close; without them each round opens its own."""
    detours: Detours = field(default_factory=dict)

    async def check(
        self, addresses: Mapping[str, str], expected: Mapping[str, Sequence[Expected]], *, limit: timedelta = LOOK
    ) -> dict[str, Seen | PachonError]:
        """What differs on each host, or why it could not be asked."""
        calls = {
            host: {
                "mode": "check",
                "subjects": [
                    {
                        "kind": each.kind,
                        "name": each.name,
                        "secret": each.secret,
                        "values": each.values,
                        "allowed": each.allowed,
                    }
                    for each in all_
                ],
            }
            for host, all_ in expected.items()
        }
        told = await self._ask(addresses, calls, limit)
        return {
            host: answer
            if isinstance(answer, PachonError)
            else [(number, each) for number, each in answer["differences"]]
            for host, answer in told.items()
        }

    async def record(
        self, addresses: Mapping[str, str], subjects: Mapping[str, Sequence[Subject]], *, limit: timedelta = RECORD
    ) -> dict[str, Values | PachonError]:
        """What each host has of these subjects, in their order, or why it could not be asked."""
        calls = {
            host: {
                "mode": "record",
                "subjects": [
                    {
                        "kind": each.kind,
                        "name": each.name,
                        "secret": each.secret,
                        "aspects": [*each.aspects, *(["entries"] if each.whole else [])],
                    }
                    for each in all_
                ],
            }
            for host, all_ in subjects.items()
        }
        told = await self._ask(addresses, calls, limit)
        return {host: answer if isinstance(answer, PachonError) else answer["values"] for host, answer in told.items()}

    async def sweep(
        self, addresses: Mapping[str, str], rest: Mapping[str, Rest], *, token: int, limit: timedelta = RECORD
    ) -> dict[str, Sequence[str] | PachonError]:
        """What went from each host, or why it could not be asked; hosts refuse a token that is not the newest there."""
        shared = {"mode": "sweep", "aside": ASIDE, "fence": FENCE, "fencing_token": token}
        calls = {host: {**shared, **dataclasses.asdict(each)} for host, each in rest.items()}
        told = await self._ask(addresses, calls, limit)
        return {
            host: answer if isinstance(answer, PachonError) else _swept(host, answer) for host, answer in told.items()
        }

    async def _ask(
        self, addresses: Mapping[str, str], calls: Mapping[str, Mapping[str, Any]], limit: timedelta
    ) -> dict[str, dict[str, Any] | PachonError]:
        fleet = self.fleet or Fleet(self.credentials, detours=self.detours)

        turns = asyncio.Semaphore(AT_ONCE)
        end = asyncio.get_running_loop().time() + (limit + len(calls) * EACH).total_seconds()

        async def one(host: str) -> dict[str, Any] | PachonError:
            try:
                # A host's time begins when it is connected to: it is we who are slow where there are thousands.
                async with asyncio.timeout_at(end), turns:
                    await fleet.host(addresses[host])
                    async with asyncio.timeout(limit.total_seconds()):
                        call = {**calls[host], "key": self._key_of(host), "cache": CACHE}
                        return await fleet.run_program(addresses[host], _program(), call, timeout=limit)
            except TimeoutError:
                seconds = limit.total_seconds()
                return TemporaryError(f"{host} did not answer the probe within {seconds:g} s", cure="see the host")
            except PachonError as error:
                return error

        try:
            answers = await asyncio.gather(*(one(host) for host in calls))
        finally:
            if self.fleet is None:
                await fleet.leave()
        return dict(zip(calls, answers, strict=True))

    def _key_of(self, host: str) -> str:
        return hmac.new(self.key, f"probe of {host}".encode(), hashlib.sha256).hexdigest()


def _swept(host: str, answer: Mapping[str, Any]) -> Sequence[str] | PachonError:
    if "error" in answer:
        return RefusedError(f"{host}: {answer['error']}", cure=str(answer["cure"]))
    return [str(each) for each in answer["swept"]]


@lru_cache(maxsize=1)
def _program() -> str:
    return PROGRAM.read_text()
