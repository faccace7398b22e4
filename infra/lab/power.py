"""The power switches of a lab's machines, as the BMCs drive them: the lab's ``Hardware``.

Keeps nothing in memory: whether a machine is on is what its keeper's lock says, so a BMC process that is killed and
started again finds the machines as they are.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from infra.lab import alive, cgroups, launch, machine
from infra.lab.bmc.hardware import Facts, PowerState, facts_of
from pachon.errors import TemporaryError
from pachon.model.facility import Machine, Serial

START_SECONDS = 60
STOP_SECONDS = 30.0


def keeper(folder: Path) -> int | None:
    """Process number of the keeper of the machine in this folder; None: the machine is off."""
    return alive.holder(folder / machine.LOCK_FILE)


def _wait(what: str, folder: Path, *, gone: int, boots: int | None) -> None:
    """Return when the keeper has ended or, with ``boots``, booted again."""
    until = time.monotonic() + STOP_SECONDS
    while keeper(folder) == gone:
        status = machine.read_status(folder)
        if boots is not None and status is not None and status.boots > boots:
            return
        if time.monotonic() > until:
            raise TemporaryError(f"{folder.name} does not {what}", cure=f"see {folder / 'console.log'}")
        time.sleep(0.005)


class LabHardware:
    """Machines of a lab's site, switched on and off. Implements ``infra.lab.bmc.hardware.Hardware``."""

    def __init__(self, machines: tuple[Machine, ...], *, facility: str, folder: Path) -> None:
        self._facts = {each.serial: facts_of(each) for each in machines}
        self._facility = facility
        self._folder = folder
        self._locks: dict[Serial, asyncio.Lock] = {}
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def facts(self) -> Mapping[Serial, Facts]:
        """The machines, by serial."""
        return self._facts

    async def power(self, serial: Serial) -> PowerState:
        """Whether the machine runs now. What a killed keeper left running is ended: it can never be switched off."""
        self.reap()
        if keeper(self._folder / serial) is not None:
            return PowerState.ON
        group = cgroups.power(self._facility, serial)
        if group.populated():
            await asyncio.to_thread(group.kill)
        return PowerState.OFF

    async def power_on(self, serial: Serial) -> None:
        """Start the machine; nothing happens if it runs. Returns when its firmware runs."""
        folder = self._folder / serial
        async with self._lock(serial):
            if keeper(folder) is not None:
                return
            child = await asyncio.to_thread(
                launch.start,
                "infra.lab.machine",
                folder,
                log=folder / "keeper.log",
                timeout=timedelta(seconds=START_SECONDS),
            )
            self._children.append(child)

    async def power_off(self, serial: Serial, *, force: bool) -> None:
        """Pull the plug and return when it is off; or ask the system to shut down and return at once."""
        folder = self._folder / serial
        async with self._lock(serial):
            pid = keeper(folder)
            number = signal.SIGUSR1 if force else signal.SIGTERM
            if pid is not None and alive.send(folder / machine.LOCK_FILE, number) and force:
                await asyncio.to_thread(_wait, "go off", folder, gone=pid, boots=None)

    async def reset(self, serial: Serial, *, force: bool) -> None:
        """Boot anew; ``force`` pulls the plug first and returns at the new boot. A machine that is off is started."""
        folder = self._folder / serial
        async with self._lock(serial):
            pid, status = keeper(folder), machine.read_status(folder)
            number = signal.SIGUSR2 if force else signal.SIGHUP
            if pid is not None and alive.send(folder / machine.LOCK_FILE, number):
                if force:
                    boots = status.boots if status is not None else 0
                    await asyncio.to_thread(_wait, "reset", folder, gone=pid, boots=boots)
                return
        await self.power_on(serial)

    def _lock(self, serial: Serial) -> asyncio.Lock:
        return self._locks.setdefault(serial, asyncio.Lock())

    def reap(self) -> None:
        """Take note of keepers that have ended."""
        self._children = [child for child in self._children if child.poll() is None]
