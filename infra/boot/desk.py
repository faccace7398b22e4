"""What a running boot service knows: records, who was heard when, which images are being sent.

The two APIs (machines, admin) call it; it calls the state machine and writes down what comes out. Times of silence are
monotonic: a clock that is set makes no machine late.
"""

import asyncio
import hashlib
import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.boot import ca, deploys, media
from infra.boot.deploys import Kept, Records, RefusalError
from infra.boot.orders import Deploy, Hello, MachineSettings, Order, Settings, State
from pachon.errors import TemporaryError, UsageError

log = logging.getLogger("pachon.boot")

STREAM_WAIT_SECONDS = 20.0
"""How long a machine is kept waiting for its turn to get an image before it is told to come again."""


class Desk:
    """The boot service without its sockets."""

    def __init__(self, settings: Settings, *, pin: str, monotonic: Callable[[], float]) -> None:
        self.settings = settings
        self.machines = {machine.serial: machine for machine in settings.machines}
        self.serials = {str(machine.address): machine.serial for machine in settings.machines}
        self.records = Records(settings.folder)
        self.slot = media.find_cmdline(settings.deploy_image)
        self._pin = pin
        self._monotonic = monotonic
        self._heard: dict[str, float] = defaultdict(monotonic)
        self._streams = asyncio.Semaphore(settings.limits.per_boot_server)
        self._transports: dict[str, asyncio.BaseTransport] = {}
        self._media_lock = asyncio.Lock()

    # asked by the provider

    def begin(self, order: Order, *, afresh: bool) -> Deploy:
        """The deploy of this order: the one there is, if it is of the same generation, or a new one.

        Raises:
            UsageError: the site has no such machine.
            TemporaryError: as many machines of its rack as allowed are being deployed.
        """
        machine = self.machines.get(order.serial)
        if machine is None:
            raise UsageError(
                f"site {self.settings.site} has no machine {order.serial}", cure="enter it in the hardware tables"
            )
        before = self.records.get(order.serial)
        if before is not None and not afresh and deploys.still_good(before.deploy, order.generation):
            if before.deploy.state is State.WAITING:
                self.touch(order.serial)
            return self.shown(before.deploy)
        busy = sum(
            kept.deploy.state in deploys.LIVE and kept.deploy.rack == machine.rack and kept.order.serial != order.serial
            for kept in self.records.all()
        )
        if busy >= self.settings.limits.per_rack:
            raise TemporaryError(
                f"{busy} machines of rack {machine.rack} are being deployed, as many as allowed", cure="wait for them"
            )
        if before is not None:
            self._hang_up(order.serial)
            ca.revoke_host(self.settings.state, self.settings.site, order.serial)
        token = secrets.token_hex(32)
        deploy = deploys.begun(
            order, deploy_id=secrets.token_hex(6), token=token, rack=machine.rack, now=datetime.now(UTC)
        )
        self.records.keep_token(order.serial, token)
        self.records.put(order, deploy)
        self.touch(order.serial)
        log.info("%s: waiting to become %s (generation %s)", order.serial, order.host, order.generation)
        return self.shown(deploy)

    def shown(self, deploy: Deploy) -> Deploy:
        """The deploy with the addresses that its BMC is told, while they are worth something."""
        token = self.records.token(deploy.serial) if deploy.state in (State.WAITING, State.FETCHED) else ""
        if not token:
            return deploy
        base = f"http://{self.settings.bind_address}:{self.settings.http_port}/deploy/{token}"
        return deploy.model_copy(
            update={"http_boot_uri": f"{base}/deploy.efi", "media_url": f"{base}/media.img"},
        )

    def revoke(self, serial: str) -> None:
        """Forget the machine's deploy and never believe its host keys again."""
        self._hang_up(serial)
        self._drop_token(serial)
        self.records.drop(serial)
        ca.revoke_host(self.settings.state, self.settings.site, serial)
        log.info("%s: revoked", serial)

    # said by machines

    def deploy_of_token(self, token: str) -> Kept | None:
        """The deploy this token opens."""
        return self.records.by_token(token)

    def touch(self, serial: str) -> None:
        """The machine was heard."""
        self._heard[serial] = self._monotonic()

    def change(self, kept: Kept, deploy: Deploy, *, durable: bool = True) -> None:
        """Keep the changed deploy and say so."""
        if deploy.state is not kept.deploy.state:
            log.info("%s: %s -> %s %s", deploy.serial, kept.deploy.state, deploy.state, deploy.error)
        self.touch(deploy.serial)
        self.records.put(kept.order, deploy, durable=durable)

    def refuse(self, kept: Kept, refusal: RefusalError) -> None:
        """Note who was turned away; end the deploy if the machine itself is at fault."""
        log.warning("%s: refused: %s", kept.order.serial, refusal.message)
        deploy = deploys.refused(kept.deploy, refusal.message)
        if refusal.fails:
            deploy = deploys.failed(deploy, error=refusal.message, cure=refusal.cure)
            self._drop_token(kept.order.serial)
        if deploy != kept.deploy:
            self.records.put(kept.order, deploy)

    def command_line(self, token: str) -> str:
        """What the deploy image is told on its kernel command line."""
        server = f"https://{self.settings.bind_address}:{self.settings.https_port}"
        return f"pachon.server={server} pachon.token={token} pachon.pin={self._pin}"

    def greet(self, kept: Kept, hello: Hello, *, source: str) -> dict[str, Any]:
        """The orders of a machine that proved itself.

        Raises:
            RefusalError: it did not.
        """
        deploy = deploys.greeted(
            kept.deploy,
            hello,
            machine=self.machines[kept.order.serial],
            source=source,
            clock_unix=datetime.now(UTC).timestamp(),
            skew_seconds=self.settings.limits.clock_skew_seconds,
        )
        self.change(kept, deploy)
        self._drop_token(kept.order.serial)
        return self._orders(kept.order, deploy)

    def _orders(self, order: Order, deploy: Deploy) -> dict[str, Any]:
        stamp = json.dumps(
            {
                "facility": self.settings.facility,
                "address": order.address,
                "generation": order.generation,
                "serial": order.serial,
                "image": order.image.digest,
                "at": deploy.since.isoformat(timespec="seconds"),
            },
            sort_keys=True,
        )
        base = f"http://{self.settings.bind_address}:{self.settings.http_port}/artefact"
        return {
            "host": order.host,
            "domain": order.domain,
            "address_on": {mac: nic.model_dump(mode="json") for mac, nic in order.address_on.items()},
            "generation": order.generation,
            "stamp": stamp,
            "stamp_signature": ca.sign_stamp(self.settings.state, self.settings.site, stamp),
            "disk_serial": order.disk_serial,
            "image": {
                "url": f"{base}/{order.image.digest}",
                "digest": order.image.digest,
                "raw_size_bytes": order.image.raw_size_bytes,
            },
            "kernel": {"url": f"{base}/{order.kernel.digest}", "digest": order.kernel.digest},
            "user_ca_public": ca.user_cas_public(self.settings.state, self.settings.site),
            "principals": {user: list(names) for user, names in order.principals.items()},
            "hosts": list(order.hosts),
            "after": "reboot",
        }

    def sign(self, kept: Kept, host_keys: list[str]) -> tuple[str, ...]:
        """Certificates for these host keys, only while the machine is being deployed."""
        deploy = deploys.keyed(kept.deploy, host_keys=host_keys)
        certificates = ca.sign_host(
            self.settings.state,
            self.settings.site,
            serial=kept.order.serial,
            public_keys=deploy.host_keys,
            names=kept.order.names,
        )
        self.change(kept, deploy.model_copy(update={"certificates": certificates}))
        return certificates

    async def turn(self, serial: str, transport: asyncio.BaseTransport | None) -> Callable[[], None] | None:
        """What gives the place back once an image was sent; None if there is no place for now."""
        try:
            async with asyncio.timeout(STREAM_WAIT_SECONDS):
                await self._streams.acquire()
        except TimeoutError:
            return None
        if transport is not None:
            self._transports[serial] = transport

        def give_back() -> None:
            self._transports.pop(serial, None)
            self._streams.release()

        return give_back

    async def disk_image(self) -> media.Slot:
        """The deploy image inside a FAT file system, for virtual media; made at the first request."""
        async with self._media_lock:
            name = self.settings.deploy_digest.removeprefix("sha256:")[:16]
            return await media.disk_around(self.slot, self.settings.folder / "media" / f"deploy-{name}.img")

    async def media_file(self, serial: str) -> Path | None:
        """A file of its own with this machine's virtual medium, where its BMC takes files instead of URLs."""
        token = self.records.token(serial)
        if not token:
            return None
        slot = await self.disk_image()
        path = self.settings.folder / "media" / f"{serial}.img"
        await asyncio.to_thread(_copy, slot, media.patch(slot, self.command_line(token)), path)
        return path

    # time

    def look_for_silence(self) -> None:
        """Fail the deploys whose machine said nothing for too long."""
        limit = self.settings.limits.silence_seconds
        for kept in self.records.all():
            serial = kept.order.serial
            if kept.deploy.state in deploys.LIVE and self._monotonic() - self._heard[serial] > limit:
                self.records.put(kept.order, deploys.silenced(kept.deploy, seconds=limit))
                self._drop_token(serial)
                self._hang_up(serial)
                log.warning("%s: silent for %d s", serial, limit)

    def machine(self, serial: str) -> MachineSettings:
        """What the tables say of this machine."""
        return self.machines[serial]

    def _drop_token(self, serial: str) -> None:
        self.records.drop_token(serial)
        (self.settings.folder / "media" / f"{serial}.img").unlink(missing_ok=True)

    def _hang_up(self, serial: str) -> None:
        transport = self._transports.pop(serial, None)
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def _copy(slot: media.Slot, patched: bytes, path: Path) -> None:
    path.touch(mode=0o600)
    with path.open("wb") as file:
        for chunk in media.chunks(slot, patched):
            file.write(chunk)


def etag(settings: Settings, token: str) -> str:
    """Tells a client with a cache that two files differ, and nothing of the token."""
    return hashlib.sha256(f"{settings.deploy_digest} {token}".encode()).hexdigest()[:32]
