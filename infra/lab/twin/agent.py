"""The twin's side of a deploy: the protocol of ``infra/boot/agent``, without a disk or a kernel.

It fetches the deploy image over HTTP, finds its orders' address in the command line, proves serial and token under the
pinned certificate, downloads image and kernel and checks their digests, makes a real host key and has it signed.
"""

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
from pydantic import SecretStr

from infra.lab import uki
from infra.lab.bmc.hardware import Facts
from infra.lab.twin.disk import Disk
from infra.lab.twin.faults import MachineFaults

WORDS = re.compile(rb"pachon\.server=(\S+) pachon\.token=(\S+) pachon\.pin=([0-9a-f]{64})")
PARTITIONS_BYTES = 320 << 20
"""EFI partition and spare room, as the real agent leaves them."""
TRIES = 20
PAUSE_SECONDS = 0.3
REQUEST = aiohttp.ClientTimeout(total=60)


class TroubleError(Exception):
    """The deploy is over; ``kind`` is what the boot service looks its cure up by."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Door:
    """Where the boot service is and what proves that we may ask."""

    server: str
    token: str
    pin: str


def door_of(image: bytes, *, medium: bool) -> Door:
    """What the deploy image says on its kernel command line.

    Raises:
        TroubleError: it is no deploy image, or nobody filled it in.
    """
    line: bytes | memoryview = image
    if not medium:
        try:
            line = bytes(uki.sections(memoryview(image)).get(".cmdline", memoryview(b"")))
        except uki.NotAnImageError as error:
            raise TroubleError(str(error), "image") from error
    found = WORDS.search(line)
    if found is None:
        raise TroubleError("the kernel command line names no boot service", "network")
    server, token, pin = (part.decode() for part in found.groups())
    return Door(server, token, pin)


class Agent:
    """One run of the deploy image on one machine. ``address`` is the machine's own, already mapped to loopback."""

    def __init__(self, facts: Facts, address: IPv4Address, faults: MachineFaults) -> None:
        self._facts = facts
        self._address = address
        self._faults = faults
        self._session = secrets.token_hex(16)
        self._phase = "network"
        self._seconds: dict[str, float] = {}
        self._since = time.monotonic()

    async def fetch(self, uri: str) -> bytes:
        """The deploy image, as firmware gets it: HEAD, then GET."""
        async with self._client() as client:
            async with client.head(uri) as head:
                if head.status != 200:
                    raise TroubleError(f"the server answers {head.status} {head.reason}", "network")
            async with client.get(uri) as answer:
                if answer.status != 200:
                    raise TroubleError(f"the server answers {answer.status} {answer.reason}", "network")
                return await answer.read()

    async def deploy(self, door: Door) -> Disk:
        """The disk as the deploy leaves it; the boot service has been told.

        Raises:
            TroubleError: it failed; the boot service has been told that, too, where it would listen.
        """
        async with self._client(pin=door.pin) as client:
            try:
                return await self._deploy(client, door)
            except TroubleError as error:
                try:
                    body = {"phase": self._phase, "message": str(error), "kind": error.kind}
                    await self._post(client, door, "failed", body, tries=1)
                except TroubleError as again:
                    error.add_note(f"nor could that be told: {again}")
                raise

    async def _deploy(self, client: aiohttp.ClientSession, door: Door) -> Disk:
        self._enter("hello")
        orders = await self._post(client, door, "hello", self._hello())
        self._enter("partition")
        self._find_room(orders)
        self._enter("image")
        await self._post(client, door, "progress", {"phase": "image", "fraction": 0.0, "message": ""})
        await self._download(orders["image"], wrong=self._faults.wrong_digest)
        await self._download(orders["kernel"], wrong=False)
        self._enter("configure")
        key = await asyncio.to_thread(asyncssh.generate_private_key, "ssh-ed25519", orders["host"])
        public = key.export_public_key().decode().strip()
        signed = await self._post(client, door, "host-keys", {"public_keys": [public]})
        disk = Disk(
            host=orders["host"],
            stamp=orders["stamp"],
            stamp_signature=orders["stamp_signature"],
            host_key=SecretStr(key.export_private_key().decode()),
            host_certificate=signed["certificates"][0],
            user_ca_public=orders["user_ca_public"],
            principals={user: tuple(names) for user, names in orders["principals"].items()},
            address_on=orders["address_on"],
        )
        self._enter("done")
        await self._post(client, door, "done", {"phases": self._seconds})
        return disk

    def _hello(self) -> dict[str, Any]:
        machine = self._facts.machine
        return {
            "serial": self._faults.other_serial or machine.serial,
            "uuid": self._facts.uuid,
            "macs": [nic.mac for nic in machine.nics],
            "clock_unix": time.time() + self._faults.clock_offset_seconds,
            "inventory": {
                "cpus": machine.cpus,
                "memory_mib": machine.memory_mib,
                "disks": [
                    {"name": disk.name, "serial": disk.serial, "size_bytes": disk.size_gib << 30}
                    for disk in machine.disks
                ],
                "nics": [{"name": nic.name, "mac": nic.mac} for nic in machine.nics],
            },
        }

    def _find_room(self, orders: dict[str, Any]) -> None:
        sizes = {disk.serial: disk.size_gib << 30 for disk in self._facts.machine.disks}
        serial = orders["disk_serial"]
        if serial not in sizes:
            raise TroubleError(f"there is no disk with serial {serial}; found: {', '.join(sizes) or 'none'}", "disk")
        needed = orders["image"]["raw_size_bytes"] + PARTITIONS_BYTES
        size = needed // 2 if self._faults.disk_full else sizes[serial]
        if size < needed:
            raise TroubleError(f"disk {serial} is too small: {size >> 20} MiB, needed are {needed >> 20} MiB", "disk")

    async def _download(self, file: dict[str, Any], *, wrong: bool) -> None:
        digest = hashlib.sha256(b"a flipped bit" if wrong else b"")
        async with self._client() as client:
            for _ in range(TRIES):
                async with client.get(file["url"]) as answer:
                    if answer.status == 503:
                        await asyncio.sleep(PAUSE_SECONDS)
                        continue
                    if answer.status != 200:
                        raise TroubleError(f"the boot service answered {answer.status} for an image", "image")
                    async for chunk in answer.content.iter_chunked(1 << 18):
                        digest.update(chunk)
                break
            else:
                raise TroubleError("the boot server is sending to others", "network")
        got = f"sha256:{digest.hexdigest()}"
        if got != file["digest"]:
            raise TroubleError(f"the image has digest {got}, ordered was {file['digest']}", "image")

    async def _post(
        self, client: aiohttp.ClientSession, door: Door, name: str, body: dict[str, Any], *, tries: int = TRIES
    ) -> dict[str, Any]:
        url = f"{door.server}/v1/{door.token}/{name}"
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(PAUSE_SECONDS)
            try:
                async with client.post(url, json={**body, "session": self._session}) as answer:
                    if answer.status == 200:
                        found: dict[str, Any] = await answer.json()
                        return found
                    if answer.status < 500:
                        raise TroubleError(f"refused ({answer.status}): {(await answer.text())[:300]}", "network")
            except aiohttp.ServerFingerprintMismatch as error:
                raise TroubleError("the boot service has another certificate than the one pinned", "network") from error
            except (aiohttp.ClientError, OSError, TimeoutError):
                continue
        raise TroubleError(f"the boot service does not answer {name}", "network")

    def _enter(self, phase: str) -> None:
        now = time.monotonic()
        self._seconds[self._phase] = round(now - self._since, 3)
        self._phase, self._since = phase, now

    @asynccontextmanager
    async def _client(self, *, pin: str = "") -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(
            local_addr=(str(self._address), 0), ssl=aiohttp.Fingerprint(bytes.fromhex(pin)) if pin else True, limit=2
        )
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=REQUEST) as session:
                yield session
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TroubleError(f"{type(error).__name__}: {error}", "network") from error

    async def impersonate(self, door: Door, note: Path) -> None:
        """What an impostor at another address tries with our serial and MACs, and no token; ``note`` says what it got.

        A file of lines ``<what> <HTTP status>``.
        """
        guess = secrets.token_hex(32)
        connector = aiohttp.TCPConnector(ssl=False)
        lines: list[str] = []
        async with aiohttp.ClientSession(connector=connector, timeout=REQUEST) as client:
            body = {**self._hello(), "session": secrets.token_hex(16)}
            for what, token in (("guessed-token", guess), ("no-token", "none")):
                async with client.post(f"{door.server}/v1/{token}/hello", json=body) as answer:
                    lines.append(f"{what} {answer.status}")
            # Even with the token that it cannot know it stands at the wrong address.
            async with client.post(f"{door.server}/v1/{door.token}/hello", json=body) as answer:
                lines.append(f"stolen-token {answer.status}")
            async with client.post(f"{door.server}/v1/{door.token}/host-keys", json={"public_keys": []}) as answer:
                lines.append(f"host-keys {answer.status}")
        note.write_text("".join(f"{line}\n" for line in lines))
