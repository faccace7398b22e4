"""A lab that is up for tests, with a boot server on its floor, and eyes on its consoles."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.lab import instance, stock
from infra.lab.bmc import hardware
from infra.lab.power import LabHardware
from pachon.model.facility import Facility
from pachon.progress import silent

PATIENCE_SECONDS = 240.0


@dataclass(frozen=True)
class Workbench:
    """A lab that is up."""

    facility: Facility
    state: Path
    work: Path

    @property
    def hardware(self) -> LabHardware:
        """Its power switches."""
        return LabHardware(self.facility.sites[0].machines, facility=self.facility.name, folder=self.machines)

    @property
    def machines(self) -> Path:
        """Folder of the machines' folders."""
        return stock.machines_folder(self.state)

    @property
    def boot_url(self) -> str:
        """Where files of ``work`` are served."""
        return f"http://{self.facility.sites[0].boot_address}:8017"

    def console(self, serial: str) -> str:
        """What the machine said so far."""
        with contextlib.suppress(FileNotFoundError):
            return (self.machines / serial / "console.log").read_text(errors="replace")
        return ""

    def set_boot(self, serial: str, **settings: object) -> None:
        """As the BMC does it: boot from ... once, unless said otherwise."""
        wanted = {"boot_override": "Once", **settings}
        hardware.save(self.machines, serial, hardware.BmcSettings.model_validate(wanted))

    def power_on(self, serial: str) -> None:
        """Switch it on."""
        asyncio.run(self.hardware.power_on(serial))

    def force_off(self, serial: str) -> None:
        """Pull its plug."""
        asyncio.run(self.hardware.power_off(serial, force=True))

    def is_on(self, serial: str) -> bool:
        """Whether it is on."""
        return asyncio.run(self.hardware.power(serial)) is hardware.PowerState.ON

    def wait_console(self, serial: str, text: str, *, times: int = 1) -> str:
        """The console, once the text was said so many times."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (said := self.console(serial)).count(text) < times:
            assert time.monotonic() < end, f"{serial} never said {text!r} {times} times:\n{said[-3000:]}"
            time.sleep(0.05)
        return said

    def wait_off(self, serial: str) -> None:
        """Return when it is off."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.is_on(serial):
            assert time.monotonic() < end, f"{serial} stays on:\n{self.console(serial)[-3000:]}"
            time.sleep(0.05)


def up(facility: Facility, state: Path) -> None:
    """Bring it up."""
    asyncio.run(instance.up(facility, state=state, progress=silent))


def down(facility: Facility, state: Path) -> None:
    """Take it down."""
    asyncio.run(instance.down(facility.name, state=state, progress=silent))


@contextlib.contextmanager
def serving(bench: Workbench) -> Iterator[None]:
    """Within the block a DHCP server and a web server for ``work`` stand on the floor."""
    site = bench.facility.sites[0]
    hosts = [f"--dhcp-host={machine.boot_nic.mac},{machine.management_address}" for machine in site.machines]
    place = instance.place(bench.facility, site.name)
    dhcp = ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=mgmt", "--bind-interfaces"]
    dhcp += ["--no-ping", f"--dhcp-range={site.management.network_address},static,{site.management.netmask}"]
    dhcp += ["--dhcp-vendorclass=set:http,HTTPClient", "--dhcp-option-force=tag:http,60,HTTPClient"]
    dhcp += [f"--dhcp-option-force=tag:http,option:bootfile-name,{bench.boot_url}/dhcp.efi"]
    dhcp += [f"--dhcp-leasefile={bench.work}/leases", "--user=root", *hosts]
    web = [
        sys.executable,
        "-m",
        "http.server",
        "8017",
        "--bind",
        str(site.boot_address),
        "--directory",
        str(bench.work),
    ]
    with (bench.work / "servers.log").open("w") as log:
        servers = [subprocess.Popen([*place, *argv], stdout=log, stderr=log) for argv in (dhcp, web)]
    try:
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()


@contextlib.contextmanager
def standing(facility: Facility, folder: Path) -> Iterator[Workbench]:
    """Within the block the lab is up and its boot server runs."""
    bench = Workbench(facility, folder / "state" / facility.name, folder / "work")
    bench.work.mkdir()
    try:
        up(facility, bench.state)
        with serving(bench):
            yield bench
    finally:
        down(facility, bench.state)
