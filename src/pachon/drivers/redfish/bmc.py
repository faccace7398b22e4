"""One machine through its BMC. A write counts only when a read shows it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from pachon.drivers.redfish import reading
from pachon.drivers.redfish.inventory import BootSetting, BootSource, Glance, Inventory, Power
from pachon.drivers.redfish.quirks import STANDARD, Quirks
from pachon.drivers.redfish.reading import pick
from pachon.drivers.redfish.wire import KEEP_ALIVE, Document, Endpoint, Limits, Wire
from pachon.errors import PermanentError, TemporaryError

ROOT = "/redfish/v1/"
LIMITS = Limits()


class Bmc:
    """A BMC, used in an ``async with`` block.

    ``serial`` is the machine expected behind it: any other raises PermanentError before anything is written.
    ``tls_sha256`` pins its certificate; when empty the first one shown is taken (enrolment: see
    ``Inventory.tls_sha256``). All methods raise TemporaryError when the BMC does not answer in time and PermanentError
    when it refuses or what it says cannot be true.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        username: str,
        password: SecretStr,
        *,
        tls_sha256: str,
        serial: str = "",
        quirks: Quirks = STANDARD,
        limits: Limits = LIMITS,
        plain: bool = False,
    ) -> None:
        self._wire = Wire(endpoint, username, password, tls_sha256=tls_sha256, limits=limits, plain=plain)
        self._expected = serial
        self._quirks = quirks
        self._expand = False
        self._system_path = ""

    async def __aenter__(self) -> Self:
        self.open()
        return self

    def open(self, *, keep_alive: timedelta = KEEP_ALIVE) -> None:
        """Be ready, and hold connections for so long after they were last used; for who cannot use a block.

        Where its system is was found out once, and holds when it is opened again.
        """
        if self._quirks.sessions:
            self._system_path = ""  # with that goes the login
        self._wire.open(keep_alive)

    async def close(self) -> None:
        """End what ``open`` began."""
        await self._wire.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._wire.close()

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return self._wire.endpoint

    async def inspect(self) -> Inventory:
        """Everything the inventory wants to know, in four requests where the BMC can expand collections."""
        async with self._wire.within("inspect the machine"):
            system = await self._system()
            nics = await self._members(str(pick(system, "EthernetInterfaces", "@odata.id") or ""), levels=1)
            storage = await self._members(str(pick(system, "Storage", "@odata.id") or ""), levels=2)
            drives = [await self._whole(drive) for each in storage for drive in reading.objects(each.get("Drives"))]
        return reading.inventory(
            self._wire.name, system, nics=nics, drives=drives, tls_sha256=self._wire.pin.seen.hex(), quirks=self._quirks
        )

    async def glance(self) -> Glance:
        """What a look goes by: one request, two more where the BMC was never spoken to."""
        async with self._wire.within("look at the machine"):
            system = await self._system()
        return reading.glance(self._wire.name, system, tls_sha256=self._wire.pin.seen.hex())

    async def power(self) -> Power:
        """ON or FORCE_OFF (off), as the BMC says."""
        async with self._wire.within("read the power state"):
            return reading.power(self._wire.name, await self._system())

    async def boot(self) -> BootSetting:
        """The boot source that the BMC shows."""
        async with self._wire.within("read the boot source"):
            return reading.boot(await self._system(), self._quirks)

    async def set_power(self, wanted: Power) -> None:
        """Switch the machine, and wait until a read shows it. Nothing is sent when it is on or off as wanted.

        A restart is off, seen to be off, and on: a BMC's own restart could not be told from none by reading.

        Raises:
            PermanentError: the BMC took the command but still shows the opposite after the settle time.
        """
        async with self._wire.within(f"set power to {wanted}"):
            if wanted is Power.FORCE_RESTART:
                await self._switch(Power.FORCE_OFF)
                await self._switch(Power.ON)
            else:
                await self._switch(wanted)

    async def _switch(self, command: Power) -> None:
        aim = Power.ON if command is Power.ON else Power.FORCE_OFF
        system = await self._system()
        if reading.power(self._wire.name, system) is aim:
            return
        target = str(pick(system, "Actions", "#ComputerSystem.Reset", "target") or "")
        if not target:
            raise PermanentError(f"{self._wire.name} offers no reset", cure="update the BMC's firmware")
        await self._command(target, {"ResetType": command.value}, once=False)
        await self._until(
            lambda now: reading.power(self._wire.name, now) is aim,
            failure=lambda now: (
                f"accepted {command} but still says that power is {pick(now, 'PowerState')}",
                "look at the machine itself: the BMC lies about power or the machine hangs; pull its plug if need "
                "be, restart the BMC, then run again",
            ),
        )

    async def set_boot(self, source: BootSource, *, uri: str = "", once: bool = True) -> None:
        """Set what the machine boots from next (or from now on), verified by a read.

        Raises:
            PermanentError: the machine has no such boot source, or the BMC forgets it.
        """
        async with self._wire.within(f"set the boot source to {source}"):
            system = await self._system()
            target = self._quirks.media_boot_target if source is BootSource.MEDIA else source.value
            allowed = pick(system, "Boot", "BootSourceOverrideTarget@Redfish.AllowableValues")
            if isinstance(allowed, list) and allowed and target not in allowed:
                raise PermanentError(
                    f"{self._wire.name} cannot boot from {target}: it offers {', '.join(map(str, allowed))}",
                    cure="use virtual media" if source is BootSource.HTTP else "choose another boot source",
                )
            if source is BootSource.NONE:
                change: Document = {"BootSourceOverrideEnabled": "Disabled"}
            else:
                change = {
                    "BootSourceOverrideTarget": target,
                    "BootSourceOverrideEnabled": "Once" if once else "Continuous",
                }
            if source is BootSource.HTTP and uri:
                change["HttpBootUri"] = uri
            await self._patch(self._system_path, {"Boot": change})
            await self._until(
                lambda now: reading.holds(
                    reading.boot(now, self._quirks), source, uri=uri, once=once, quirks=self._quirks
                ),
                failure=lambda now: (
                    f"accepted boot source {target} but shows {pick(now, 'Boot', 'BootSourceOverrideTarget')}",
                    "update the BMC's firmware or reset its settings; set the boot source by hand to go on",
                ),
            )

    async def set_asset_tag(self, text: str) -> None:
        """Write the asset tag, verified by a read."""
        async with self._wire.within("write the asset tag"):
            system = await self._system()
            path = self._system_path
            if self._quirks.asset_tag_on == "chassis":
                chassis = reading.objects(pick(system, "Links", "Chassis"))
                path = str(chassis[0].get("@odata.id", "")) if chassis else ""
            if not path:
                raise PermanentError(
                    f"{self._wire.name} has no asset tag", cure="give its model a row among the quirks"
                )
            await self._patch(path, {"AssetTag": text})
            await self._until(
                lambda now: (now.get("AssetTag") or "") == text,
                failure=lambda now: (
                    f"accepted the asset tag {text!r} but shows {now.get('AssetTag')!r}",
                    "update the BMC's firmware; check how long its asset tag may be",
                ),
                path=path,
            )

    async def insert_media(self, url: str) -> None:
        """Have the BMC fetch an image and show it to the machine as a CD, verified by a read."""
        async with self._wire.within("insert virtual media"):
            path, medium = await self._medium()
            if medium.get("Inserted") and medium.get("Image") == url:
                return
            if medium.get("Inserted"):
                await self._eject(path, medium)
            body: Document = {"Image": url}
            target = str(pick(medium, "Actions", "#VirtualMedia.InsertMedia", "target") or "")
            if self._quirks.media_by_patch or not target:
                await self._patch(path, {**body, "Inserted": True, "WriteProtected": True})
            else:
                if self._quirks.media_protocol:
                    body["TransferProtocolType"] = url.partition(":")[0].upper()
                # The BMC fetches the image before it answers; a late answer is left to the verifying read.
                with contextlib.suppress(TemporaryError):
                    await self._command(target, body, once=True)
            await self._until(
                lambda now: bool(now.get("Inserted")) and now.get("Image") == url,
                failure=lambda now: (
                    "accepted the virtual medium but shows none",
                    "check that the BMC reaches the boot service; update its firmware",
                ),
                path=path,
            )

    async def eject_media(self) -> None:
        """Take the virtual medium out, verified by a read."""
        async with self._wire.within("eject virtual media"):
            path, medium = await self._medium()
            if medium.get("Inserted"):
                await self._eject(path, medium)

    async def _eject(self, path: str, medium: Document) -> None:
        target = str(pick(medium, "Actions", "#VirtualMedia.EjectMedia", "target") or "")
        if self._quirks.media_by_patch or not target:
            await self._patch(path, {"Image": None, "Inserted": False})
        else:
            await self._command(target, {}, once=False)
        await self._until(
            lambda now: not now.get("Inserted"),
            failure=lambda now: (
                "accepted to eject the virtual medium but shows it",
                "restart the BMC, then run again",
            ),
            path=path,
        )

    async def _system(self) -> Document:
        """The machine's ComputerSystem, read now; its serial is checked each time."""
        if not self._system_path:
            root = (await self._wire.get(ROOT)).document
            self._expand = self._quirks.expand and bool(
                pick(root, "ProtocolFeaturesSupported", "ExpandQuery", "NoLinks")
            )
            if self._quirks.sessions:
                await self._wire.log_in(
                    str(pick(root, "Links", "Sessions", "@odata.id") or f"{ROOT}SessionService/Sessions")
                )
            systems = await self._members(str(pick(root, "Systems", "@odata.id") or f"{ROOT}Systems"), levels=1)
            system = reading.one_system(self._wire.name, systems, self._expected)
            self._system_path = str(system["@odata.id"])
        else:
            system = (await self._wire.get(self._system_path)).document
        serial = str(system.get("SerialNumber") or "").strip()
        if self._expected and serial != self._expected:
            raise PermanentError(
                f"{self._wire.name} belongs to machine {serial or 'without a serial'}, not to {self._expected}",
                cure="check the BMC addresses of both machines in the hardware table, and the cabling of their BMCs",
            )
        return system

    async def _medium(self) -> tuple[str, Document]:
        """Path and content of the first virtual medium that takes a CD."""
        system = await self._system()
        places = [str(pick(system, "VirtualMedia", "@odata.id") or "")]
        for manager in reading.objects(pick(system, "Links", "ManagedBy")):
            found = (await self._wire.get(str(manager.get("@odata.id")))).document
            places.append(str(pick(found, "VirtualMedia", "@odata.id") or ""))
        for place in filter(None, places):
            for medium in await self._members(place, levels=1):
                if {"CD", "DVD"} & set(medium.get("MediaTypes") or ()):
                    return str(medium["@odata.id"]), medium
        raise PermanentError(f"{self._wire.name} has no virtual CD", cure="boot the machine over HTTP instead")

    async def _members(self, path: str, *, levels: int) -> list[Document]:
        """Members of a collection, whole; one request where the BMC expands."""
        if not path:
            return []
        query = ("?$expand=." + (f"($levels={levels})" if levels > 1 else "")) if self._expand else ""
        found = (await self._wire.get(path + query)).document
        return [await self._whole(member) for member in reading.objects(found.get("Members"))]

    async def _whole(self, found: Document) -> Document:
        """The resource itself where only a reference to it was given."""
        if set(found) == {"@odata.id"}:
            return (await self._wire.get(str(found["@odata.id"]))).document
        return found

    async def _patch(self, path: str, body: Document) -> None:
        tag = (await self._wire.get(path)).etag if self._quirks.if_match else ""
        await self._wire.send("PATCH", path, body, if_match=tag)

    async def _command(self, target: str, body: Document, *, once: bool) -> None:
        """Send an action. ``once``: sent twice it would do harm, so it is not tried again."""
        await self._wire.send("POST", target, body, attempts=1 if once else None)

    async def _until(
        self,
        reached: Callable[[Document], bool],
        *,
        failure: Callable[[Document], tuple[str, str]],
        path: str = "",
    ) -> None:
        """Read until ``reached``; past the settle time (or the total limit) ``failure`` says what is wrong."""
        read: Callable[[], Awaitable[Document]] = self._system if not path else lambda: self._resource(path)
        loop = asyncio.get_running_loop()
        limits = self._wire.limits
        end = loop.time() + min(self._quirks.settle_seconds, limits.total.total_seconds() / 2)
        pause = limits.poll.total_seconds() / 5
        while True:
            now = await read()
            if reached(now):
                return
            if loop.time() >= end:
                message, cure = failure(now)
                raise PermanentError(f"{self._wire.name} {message}", cure=cure)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, limits.poll.total_seconds() * 4)

    async def _resource(self, path: str) -> Document:
        return (await self._wire.get(path)).document
