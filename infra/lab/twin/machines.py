"""Twin machines: power, a boot that is a real deploy over the network, and a disk that is a file."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from infra.lab.bmc.hardware import BootChoice, BootSource, Facts, PowerState, consume_boot, facts_of, load, save
from infra.lab.twin import disk, faults
from infra.lab.twin.addresses import loopback
from infra.lab.twin.agent import Agent, TroubleError, door_of
from infra.lab.twin.disk import Disk
from pachon.errors import PachonError
from pachon.model.base import Frozen
from pachon.model.facility import Machine, Serial

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 0.2


class Told(Frozen):
    """What a machine was last seen doing; kept, so that it outlives the twin's process."""

    on: bool = False
    boots: int = 0
    source: str = ""
    halted: bool = False
    """On, but nothing runs on it."""


class TwinHardware:
    """A ``Hardware`` whose machines deploy themselves. ``folder`` holds a folder a machine."""

    def __init__(self, machines: Iterable[Machine], folder: Path) -> None:
        self._facts = {machine.serial: facts_of(machine) for machine in machines}
        self._folder = folder
        self._listeners: list[Callable[[Serial], None]] = []
        self._tasks: dict[Serial, asyncio.Task[None]] = {}
        self._disks: dict[Serial, tuple[tuple[int, int], Disk]] = {}
        """As they were read last, with what tells that they are other ones now."""
        self._told = {serial: read_told(folder, serial) for serial in self._facts}

    @property
    def facts(self) -> Mapping[Serial, Facts]:
        """The machines, by serial."""
        return self._facts

    def when_stopped(self, listener: Callable[[Serial], None]) -> None:
        """Tell the listener of each machine that loses power."""
        self._listeners.append(listener)

    async def power(self, serial: Serial) -> PowerState:
        """Whether it is on."""
        return PowerState.ON if self._told[serial].on else PowerState.OFF

    async def power_on(self, serial: Serial) -> None:
        """Start it; it boots in the background."""
        if not self._told[serial].on:
            self._boot(serial)

    async def power_off(self, serial: Serial, *, force: bool) -> None:
        """Stop it; gracefully takes a moment."""
        if not force:
            await asyncio.sleep(SHUTDOWN_SECONDS)
        await self._stop(serial)
        for listener in self._listeners:
            listener(serial)
        self._tell(serial, on=False, halted=False)

    async def reset(self, serial: Serial, *, force: bool) -> None:
        """Off and on again."""
        await self.power_off(serial, force=force)
        await self.power_on(serial)

    async def close(self) -> None:
        """Let go of everything that runs; machines count as on as they were."""
        for serial in list(self._tasks):
            await self._stop(serial)

    def system(self, serial: Serial) -> Disk | None:
        """What runs on the machine now: its disk's content when it is on and has booted from it."""
        told = self._told[serial]
        if not told.on or told.halted or told.source != BootSource.DISK.value:
            return None
        try:
            file = disk.disk_path(self._folder, serial).stat()
        except FileNotFoundError:
            return None
        known = self._disks.get(serial)
        if known is None or known[0] != (file.st_ino, file.st_mtime_ns):
            found = disk.load(self._folder, serial)
            if found is None:
                return None
            self._disks[serial] = known = ((file.st_ino, file.st_mtime_ns), found)
        return known[1]

    def changed(self, serial: Serial, now: Disk) -> None:
        """Write what a program did to the disk."""
        disk.save(self._folder, serial, now)

    def _boot(self, serial: Serial) -> None:
        choice = consume_boot(load(self._folder, serial), now=datetime.now(UTC))
        save(self._folder, serial, choice.settings)
        boots = self._told[serial].boots + 1
        self._tell(serial, on=True, halted=False, source=choice.source.value, boots=boots)
        self._say(serial, f"boots from {choice.source.value}")
        self._tasks[serial] = asyncio.create_task(self._run(serial, choice))

    async def _stop(self, serial: Serial) -> None:
        task = self._tasks.pop(serial, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self, serial: Serial, choice: BootChoice) -> None:
        """What comes of one power-on."""
        try:
            await self._start(serial, choice)
        except TroubleError as error:
            self._say(serial, f"FAILED: {error}")
            self._tell(serial, on=False, halted=False)
        except (PachonError, OSError, ValueError, KeyError) as error:
            self._say(serial, f"halted: {type(error).__name__}: {error}")
            self._tell(serial, halted=True)

    async def _start(self, serial: Serial, choice: BootChoice) -> None:
        if choice.source is BootSource.DISK:
            if disk.load(self._folder, serial) is None:
                self._say(serial, "no bootable device")
                self._tell(serial, halted=True)
            return
        machine = self._facts[serial].machine
        wrong = faults.of(self._folder, serial)
        if wrong.never_calls_back:
            self._say(serial, "hangs in its firmware")
            self._tell(serial, halted=True)
            return
        agent = Agent(self._facts[serial], loopback(machine.management_address), wrong)
        medium = choice.source is BootSource.MEDIA
        image = await asyncio.to_thread(Path(choice.target).read_bytes) if medium else await agent.fetch(choice.target)
        door = door_of(image, medium=medium)
        if wrong.impostor:
            await agent.impersonate(door, self._folder / serial / "impostor")
        disk.wipe(self._folder, serial)
        disk.save(self._folder, serial, await agent.deploy(door))
        self._say(serial, "restarts from its disk")
        self._tell(serial, source=BootSource.DISK.value, boots=self._told[serial].boots + 1)

    def _tell(self, serial: Serial, **update: object) -> None:
        self._told[serial] = told = self._told[serial].model_copy(update=update)
        put_told(self._folder, serial, told)

    def _say(self, serial: Serial, text: str) -> None:
        path = console_path(self._folder, serial)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}\n")


def console_path(folder: Path, serial: Serial) -> Path:
    """What the machine says."""
    return folder / serial / "console.log"


def read_told(folder: Path, serial: Serial) -> Told:
    """What a machine was last seen doing."""
    try:
        return Told.model_validate_json(_told_path(folder, serial).read_bytes())
    except (FileNotFoundError, ValueError):
        return Told()


def put_told(folder: Path, serial: Serial, told: Told) -> None:
    """Keep what the machine is doing."""
    path = _told_path(folder, serial)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(told.model_dump_json())
    new.replace(path)


def _told_path(folder: Path, serial: Serial) -> Path:
    return folder / serial / "power.json"
