"""One ``pachon up`` over machines that each have another fault: each is named with what to do, the others come up.

Afterwards the faults are lifted, and the same command brings up the rest.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.image import bake
from infra.lab import faults
from infra.lab.bmc import faults as bmc_faults
from infra.lab.bmc.hardware import PowerState
from pachon import places
from tests.e2e import making
from tests.e2e.rig import Rig, rig

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(900)]

NAME = "t-fault"
SOUND, SILENT_BMC, LATE_BMC, LIAR, STRANGER, NO_CABLE, FULL_DISK, DAMAGED = range(1, 9)
DAMAGED_FLAVOUR = "batch"
"""Of the machine whose image is damaged, and of no other."""
SETTINGS = "deploy: {silence_seconds: 45}\n"
EVERY_FAULT = os.environ.get("PACHON_FAULTS") == "all"

SAID = {
    SILENT_BMC: r"BMC|no answer|not answer",
    LATE_BMC: r"BMC|no answer|not answer",
    LIAR: r"power|On|Off",
    STRANGER: r"belongs to machine SOMEBODY-ELSE",
    NO_CABLE: r"never asked for its deploy image",
    FULL_DISK: r"failed in phase image",
    DAMAGED: r"digest",
}
"""What must be said of each, and further down that there is something to do about it."""


def serial(number: int) -> str:
    return making.serial(NAME, number)


@pytest.fixture
def many() -> Iterator[Rig]:
    """Eight machines, seven of them with a fault, on a lab that stands; the image of the eighth is damaged."""
    with rig(NAME) as made:
        making.small(made.definition, name=NAME, network="198.19.84", containers=8, settings=SETTINGS)
        making.alter_host(made.definition, making.host(NAME, DAMAGED), flavour=DAMAGED_FLAVOUR)
        made.settings["PACHON_CACHE"] = str(damaged_cache(made.top / "cache"))
        made.pachon("lab", "up")
        bmc_faults.put(
            machines(made),
            {
                serial(SILENT_BMC): bmc_faults.Faults(no_answer=True),
                serial(LATE_BMC): bmc_faults.Faults(slow_seconds=30),
                serial(LIAR): bmc_faults.Faults(lies_about_power=PowerState.OFF),
                serial(STRANGER): bmc_faults.Faults(other_serial="SOMEBODY-ELSE"),
            },
        )
        faults.pull_cable(made.state, serial(NO_CABLE), "eth0")
        faults.fill_disk(made.state, serial(FULL_DISK), "vda", room_mib=100)
        yield made


def damaged_cache(folder: Path) -> Path:
    """A cache like the real one, but for one flavour's image, in which some bytes are wrong."""
    image = bake.ensure(DAMAGED_FLAVOUR, cache=places.cache()).root.path
    for real in (places.cache(), places.cache() / "images"):
        own = folder / real.relative_to(places.cache())
        own.mkdir()
        for path in real.iterdir():
            if path.name != "images" and path != image:
                (own / path.name).symlink_to(path)
    damaged = bytearray(image.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 8] = bytes(byte ^ 0xFF for byte in damaged[middle : middle + 8])
    (folder / "images" / image.name).write_bytes(damaged)
    return folder


def mend(cache: Path) -> None:
    """Put the true image into the damaged cache."""
    image = bake.ensure(DAMAGED_FLAVOUR, cache=places.cache()).root.path
    (cache / "images" / image.name).write_bytes(image.read_bytes())


def machines(made: Rig) -> Path:
    """Folder of the lab's machines."""
    return made.state / "lab" / "machines"


def test_each_fault_is_named_with_its_cure_the_others_come_up_and_once_lifted_all_do(many: Rig) -> None:
    report = many.ask("up", status=6)
    done = {host["machine"]: host["done"] for host in report["hosts"]}
    assert done == {serial(SOUND): "created"} | {serial(number): "failed" for number in SAID}
    for number, words in SAID.items():
        about = [failure for failure in report["failures"] if _is_about(failure["address"], number)]
        assert about, f"nothing was said of {serial(number)}: {report['failures']}"
        assert re.search(words, about[0]["error"]), about[0]
        assert about[0]["cure"], about[0]
    assert many.ssh(making.host(NAME, SOUND), "hostname").strip() == making.host(NAME, SOUND)
    assert many.ask("status", status=4)["degraded"]

    mend(many.top / "cache")
    bmc_faults.clear(machines(many))
    faults.pull_cable(many.state, serial(NO_CABLE), "eth0", pulled=False)
    for number in (NO_CABLE, FULL_DISK):
        many.pachon("machine", "power", serial(number), "off", "--force", "--yes", status=None)
    faults.fill_disk(many.state, serial(FULL_DISK), "vda", room_mib=None)
    report = many.ask("up")
    assert report["failures"] == []
    assert many.imagings(serial(SOUND)) == 1
    assert many.ask("up")["changed"] is False

    bmc_faults.put(machines(many), {serial(SOUND): bmc_faults.Faults(no_answer=True)})
    report = many.ask("up", status=6)
    assert {failure["address"].rpartition("/")[2] for failure in report["failures"]} <= _names(SOUND)
    bmc_faults.clear(machines(many))
    assert many.ask("up")["failures"] == []
    assert many.imagings(serial(SOUND)) == 1


def test_a_lab_with_a_full_disk_goes_without_leaving_its_loop_device() -> None:
    with rig("t-fault-disk") as made:
        making.small(made.definition, name=made.name, network="198.19.112", containers=1)
        made.pachon("lab", "up")
        faults.fill_disk(made.state, making.serial(made.name, 1), "vda", room_mib=10)
        made.pachon("lab", "up")
        made.down()
    assert [
        path for path in Path("/sys/block").glob("loop*/loop/backing_file") if path.read_text() == "/vda.img\n"
    ] == []


if EVERY_FAULT:  # otherwise tests/lab/test_boot_deploy.py tells of wrong clocks: one start of a firmware machine less

    def test_a_firmware_machine_with_a_wrong_clock_is_told_and_comes_up_once_it_is_right() -> None:
        with rig("t-clock") as made:
            making.small(made.definition, name=made.name, network="198.19.120", containers=1, firmware=1)
            made.pachon("lab", "up")
            wrong = making.serial(made.name, 2)
            faults.set_clock(made.state, wrong, datetime(2001, 9, 9, tzinfo=UTC))
            report = made.ask("up", status=6)
            assert [host["done"] for host in report["hosts"]] == ["created", "failed"]
            (failure,) = report["failures"]
            assert f"the clock of {wrong} says 2001-09-09" in failure["error"]
            assert "set the machine's clock" in failure["cure"]
            faults.set_clock(made.state, wrong, None)
            made.pachon("machine", "power", wrong, "off", "--force", "--yes", status=None)
            assert made.ask("up")["failures"] == []


def _is_about(address: str, number: int) -> bool:
    return address.rpartition("/")[2] in _names(number)


def _names(number: int) -> set[str]:
    return {serial(number), making.host(NAME, number)}
