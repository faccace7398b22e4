"""Machines that are on or off and do nothing else: what tests and benchmarks of BMCs put behind them.

``python -m infra.lab.bmc.idle SITE.json`` serves the BMCs of a file (``IdleSite``) in a process of its own.
"""

import asyncio
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from infra.lab.bmc import server
from infra.lab.bmc.certificate import ensure_certificate
from infra.lab.bmc.hardware import BootChoice, Facts, PowerState, consume_boot, facts_of, load, save
from pachon.model.base import Frozen
from pachon.model.facility import Machine, Serial


class IdleHardware:
    """A ``Hardware`` in memory; ``boots`` tells what each machine booted from."""

    def __init__(self, machines: Iterable[Machine], folder: Path) -> None:
        self._facts = {machine.serial: facts_of(machine) for machine in machines}
        self._folder = folder
        self._on: set[Serial] = set()
        self.boots: list[tuple[Serial, BootChoice]] = []

    @property
    def facts(self) -> Mapping[Serial, Facts]:
        """The machines, by serial."""
        return self._facts

    async def power(self, serial: Serial) -> PowerState:
        """Whether it is on."""
        return PowerState.ON if serial in self._on else PowerState.OFF

    async def power_on(self, serial: Serial) -> None:
        """Switch it on; its boot source is consumed."""
        if serial in self._on:
            return
        self._on.add(serial)
        choice = consume_boot(load(self._folder, serial), now=datetime.now(UTC))
        save(self._folder, serial, choice.settings)
        self.boots.append((serial, choice))

    async def power_off(self, serial: Serial, *, force: bool) -> None:
        """Switch it off."""
        self._on.discard(serial)

    async def reset(self, serial: Serial, *, force: bool) -> None:
        """Off and on."""
        await self.power_off(serial, force=force)
        await self.power_on(serial)


class IdleSite(Frozen):
    """What a process of idle machines is told."""

    machines: tuple[Machine, ...]
    folder: Path
    """BMC settings, faults, certificate; the file ``ready`` in it carries the port once the BMCs answer."""
    password_file: Path
    """Password of the user ``pachon``."""
    bind: str = "0.0.0.0"
    port: int = 0


async def serve(site: IdleSite) -> None:
    """Serve the BMCs of a site of idle machines until standard input ends: nobody who started it lives any more."""
    hardware = IdleHardware(site.machines, site.folder)
    tls = ensure_certificate(site.folder, now=datetime.now(UTC))
    users = {"pachon": SecretStr(site.password_file.read_text().strip())}
    async with server.serving(hardware, site.folder, bind=site.bind, port=site.port, tls=tls, users=users) as port:
        new = site.folder / ".ready"
        new.write_text(f"{port}\n")
        new.replace(site.folder / "ready")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(serve(IdleSite.model_validate_json(Path(sys.argv[1]).read_bytes())))
