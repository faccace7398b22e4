"""Firmware machines, for real: UEFI over HTTP, from virtual media and from the disk's own boot loader, under QEMU."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.image import bake
from infra.lab import faults, uki
from pachon import places
from tests.lab import labs, tiny, workbench
from tests.lab.workbench import Workbench

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
LOST_TIMER = "kthread timer wakeup didn't happen"
"""What a kernel says whose virtual processor QEMU left without its timer (seen once in about 30 boots)."""

SERIAL = "T45N1"
EVERY_FAULT = os.environ.get("PACHON_FAULTS") == "all"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel of the deploy image."""
    image = bake.ensure("server", cache=places.cache()).deploy.path
    path = tmp_path_factory.mktemp("kernel") / "kernel"
    path.write_bytes(uki.sections(memoryview(image.read_bytes()))[".linux"])
    return path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    facility = labs.facility("t-lab-uefi", 45, machines=(labs.machine(45, 1, site="base", model="firmware"),))
    with workbench.standing(facility, tmp_path_factory.mktemp("lab")) as bench:
        yield bench


@pytest.fixture(autouse=True)
def off(bench: Workbench) -> Iterator[None]:
    yield
    bench.force_off(SERIAL)
    (bench.machines / SERIAL / "console.log").unlink(missing_ok=True)


def _image(bench: Workbench, kernel: Path, name: str, command_line: str) -> Path:
    folder = bench.work / name
    folder.mkdir()
    return tiny.uki(folder, f"console=ttyS0 quiet {command_line}", kernel=kernel)


def _fat(path: Path, uki_file: Path) -> None:
    """Make a FAT file system with the image as its boot loader."""
    subprocess.run(["/usr/sbin/mkfs.vfat", "-C", str(path), "49152"], check=True, stdout=-1)
    subprocess.run(["mmd", "-i", str(path), "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", str(path), str(uki_file), "::/EFI/BOOT/BOOTX64.EFI"], check=True)


if EVERY_FAULT:  # otherwise tests/e2e/test_up_lab.py shows both, in one deploy: two boots of a firmware machine less

    @pytest.mark.faults
    def test_http_boot_then_the_disk_s_own_loader_then_off(bench: Workbench, kernel: Path) -> None:
        disk = bench.machines / SERIAL / "disks" / "sda.img"
        table = "label: gpt\nsize=64MiB, type=uefi\n"
        sfdisk = ["/usr/sbin/sfdisk", "-q", "--no-reread", "--no-tell-kernel", str(disk)]
        subprocess.run(sfdisk, input=table, text=True, check=True)
        esp = bench.work / "esp.img"
        _fat(esp, _image(bench, kernel, "disk", "tiny.from=disk tiny.then=poweroff"))
        subprocess.run(["dd", f"if={esp}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc", "status=none"], check=True)
        _image(bench, kernel, "http", "tiny.from=http tiny.then=reboot")
        uri = f"{bench.boot_url}/http/boot.efi"
        bench.set_boot(SERIAL, boot_source="UefiHttp", http_boot_uri=uri)
        bench.power_on(SERIAL)
        try:
            said = bench.wait_console(SERIAL, "tiny.from=http")
        except AssertionError:
            if LOST_TIMER not in bench.console(SERIAL):
                raise
            bench.force_off(SERIAL)
            bench.set_boot(SERIAL, boot_source="UefiHttp", http_boot_uri=uri)
            bench.power_on(SERIAL)
            said = bench.wait_console(SERIAL, "tiny.from=http")
        bench.wait_off(SERIAL)
        said = bench.console(SERIAL)
        assert f"tiny: serial {SERIAL}" in said
        assert said.index("tiny.from=http") < said.index("power on, boot 2") < said.index("tiny.from=disk")


def test_virtual_media_with_a_wrong_clock_and_a_reset(bench: Workbench, kernel: Path) -> None:
    medium = bench.work / "medium.img"
    _fat(medium, _image(bench, kernel, "medium", "tiny.from=media"))
    faults.set_clock(bench.state, SERIAL, datetime(2031, 5, 1, tzinfo=UTC))
    bench.set_boot(SERIAL, boot_source="Cd", boot_override="Continuous", media_path=str(medium), inserted=True)
    bench.power_on(SERIAL)
    said = bench.wait_console(SERIAL, "tiny: staying")
    assert "tiny.from=media" in said
    assert "tiny: hello in 2031" in said
    asyncio.run(bench.hardware.reset(SERIAL, force=True))
    bench.wait_console(SERIAL, "power on, boot 2")
    assert bench.is_on(SERIAL)
