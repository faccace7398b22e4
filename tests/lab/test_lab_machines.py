"""Container machines, for real: boot sources, power, consoles, cables and faults."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.lab import faults, instance, ip, names, plug, power, spec
from infra.lab.bmc import hardware
from pachon.errors import UsageError
from pachon.model.facility import Cable
from tests.lab import labs, tiny, workbench
from tests.lab.workbench import Workbench

pytestmark = pytest.mark.real

HOST, SWITCH, SPARE = "T40N1", "T40N2", "T40N3"

TALK = """
word() { grep -o "tiny.$1=[^ ]*" /proc/cmdline | cut -d= -f2; }
ip addr add $(word address) dev $(word nic)
ip link set $(word nic) up
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    machines = (
        labs.machine(40, 1, site="base", nics=2),
        labs.machine(40, 2, site="base", model="switch", nics=3),
        labs.machine(40, 3, site="base"),
    )
    cable = Cable(machine=HOST, nic="eth1", switch=SWITCH, port="swp2")
    facility = labs.facility("t-lab-run", 40, machines=machines, cables=(cable,))
    with workbench.standing(facility, tmp_path_factory.mktemp("lab")) as bench:
        yield bench


@pytest.fixture(autouse=True)
def all_off(bench: Workbench) -> Iterator[None]:
    yield
    for serial in (HOST, SWITCH, SPARE):
        bench.force_off(serial)
        bench.set_boot(serial, boot_source="None")
        (bench.machines / serial / "console.log").unlink(missing_ok=True)


def _serve(bench: Workbench, name: str, command_line: str, *, script: str = "") -> str:
    """Address of a boot image with this command line."""
    folder = bench.work / name
    folder.mkdir(exist_ok=True)
    tiny.uki(folder, command_line, script=script)
    return f"{bench.boot_url}/{name}/boot.efi"


def _boot(bench: Workbench, serial: str, uri: str) -> None:
    bench.set_boot(serial, boot_source="UefiHttp", http_boot_uri=uri)
    bench.power_on(serial)


def test_boot_image_over_http_sees_its_command_line_identity_nics_and_disks(bench: Workbench) -> None:
    _boot(bench, HOST, _serve(bench, "see", "tiny.token=SECRET7"))
    said = bench.wait_console(HOST, "tiny: staying")
    machine = bench.facility.sites[0].machine_by_serial[HOST]
    for line in (
        "tiny: cmdline tiny.token=SECRET7",
        f"tiny: serial {HOST}",
        f"tiny: nic eth0 {machine.nics[0].mac}",
        f"tiny: nic eth1 {machine.nics[1].mac}",
        f"tiny: disk {machine.disks[0].serial} /dev/sda",
    ):
        assert line in said
    assert bench.is_on(HOST)
    assert hardware.load(bench.machines, HOST).boot_override is hardware.BootOverride.DISABLED


def test_token_is_in_no_command_line_or_environment_outside_the_machine(bench: Workbench) -> None:
    _boot(bench, HOST, _serve(bench, "hide", "tiny.token=SECRET8"))
    bench.wait_console(HOST, "tiny: staying")
    pid = power.keeper(bench.machines / HOST)
    nspawn = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in (str(pid), *nspawn):
        for part in ("cmdline", "environ"):
            assert b"SECRET8" not in Path(f"/proc/{process}/{part}").read_bytes()


def test_reboot_from_inside_boots_anew_and_a_single_boot_source_is_used_up(bench: Workbench) -> None:
    tiny.write_disk(bench.work, bench.machines / HOST / "disks" / "sda.img")
    _boot(bench, HOST, _serve(bench, "again", "tiny.then=reboot"))
    said = bench.wait_console(HOST, "tiny: staying")
    assert said.count("tiny: hello") == 2
    assert "booting from sda2" in said
    assert asyncio.run(instance.status("t-lab-run", state=bench.state)).machines[0].boots == 2


def test_power_off_from_inside_is_off(bench: Workbench) -> None:
    _boot(bench, HOST, _serve(bench, "off", "tiny.then=poweroff"))
    bench.wait_off(HOST)
    assert "tiny: hello" in bench.console(HOST)
    assert not ip.exists("t-lab-run.T40N1")


def test_dead_system_stays_on_until_it_is_reset(bench: Workbench) -> None:
    _boot(bench, HOST, _serve(bench, "dead", "tiny.then=exit"))
    bench.wait_console(HOST, "halted")
    assert bench.is_on(HOST)
    asyncio.run(bench.hardware.reset(HOST, force=True))
    bench.wait_console(HOST, "power on, boot 2")


def test_shutdown_is_asked_of_the_system_and_force_is_not(bench: Workbench) -> None:
    _boot(bench, HOST, _serve(bench, "ask", ""))
    bench.wait_console(HOST, "tiny: staying")
    asyncio.run(bench.hardware.power_off(HOST, force=False))
    bench.wait_off(HOST)
    assert "tiny: asked to stop" in bench.console(HOST)
    _boot(bench, HOST, _serve(bench, "ask", ""))
    bench.wait_console(HOST, "tiny: staying", times=2)
    bench.force_off(HOST)
    assert not bench.is_on(HOST)
    assert bench.console(HOST).count("asked to stop") == 1


def test_forced_reset_boots_from_what_was_set_meanwhile(bench: Workbench) -> None:
    tiny.write_disk(bench.work, bench.machines / HOST / "disks" / "sda.img")
    _boot(bench, HOST, _serve(bench, "meanwhile", ""))
    bench.wait_console(HOST, "tiny: staying")
    bench.set_boot(HOST, boot_source="Hdd", boot_override="Continuous")
    asyncio.run(bench.hardware.reset(HOST, force=True))
    bench.wait_console(HOST, "booting from sda2")


@pytest.mark.parametrize("broken", ["no-such-file.efi", "servers.log"])
def test_without_anything_to_boot_the_machine_says_so_and_stays_on(bench: Workbench, broken: str) -> None:
    _boot(bench, SPARE, f"{bench.boot_url}/{broken}")
    said = bench.wait_console(SPARE, "no bootable device")
    assert "Hdd: no disk has a root partition" in said
    assert bench.is_on(SPARE)


def test_boot_from_virtual_media(bench: Workbench) -> None:
    _serve(bench, "media", "tiny.from=media")
    image = bench.work / "media.img"
    subprocess.run(["/usr/sbin/mkfs.vfat", "-C", str(image), "16384"], check=True, stdout=-1)
    subprocess.run(["mmd", "-i", str(image), "::/EFI", "::/EFI/BOOT"], check=True)
    boot_file = str(bench.work / "media" / "boot.efi")
    subprocess.run(["mcopy", "-i", str(image), boot_file, "::/EFI/BOOT/BOOTX64.EFI"], check=True)
    bench.set_boot(HOST, boot_source="Cd", media_path=str(image), inserted=True)
    bench.power_on(HOST)
    assert "tiny.from=media" in bench.wait_console(HOST, "tiny: staying")


def test_network_of_the_last_run_does_not_outlive_it(bench: Workbench) -> None:
    _boot(bench, HOST, _serve(bench, "net", "tiny.nic=eth0 tiny.address=198.19.40.17/26", script=TALK))
    bench.wait_console(HOST, "tiny: staying")
    assert "198.19.40.17" in str(ip.show("addr", namespace="t-lab-run.T40N1"))
    asyncio.run(bench.hardware.reset(HOST, force=True))
    bench.wait_console(HOST, "power on, boot 2")
    bench.force_off(HOST)
    bench.power_on(HOST)
    assert "198.19.40.17/26 brd" not in str(ip.show("addr", namespace="t-lab-run.T40N1"))


def _ping(namespace: str, target: str) -> bool:
    argv = ["nsenter", f"--net=/run/netns/{namespace}", "busybox", "ping", "-c1", "-W2", target]
    return any(subprocess.run(argv, capture_output=True, check=False).returncode == 0 for _ in range(5))


def _carrier(serial: str, nic: str) -> bool:
    (link,) = ip.show("link", "show", nic, namespace=f"t-lab-run.{serial}")
    return "LOWER_UP" in link["flags"]


def test_cable_between_machines_carries_frames_after_either_end_was_off(bench: Workbench) -> None:
    boots = {
        HOST: _serve(bench, "cable-host", "tiny.nic=eth1 tiny.address=10.9.9.1/24", script=TALK),
        SWITCH: _serve(bench, "cable-switch", "tiny.nic=swp2 tiny.address=10.9.9.2/24", script=TALK),
    }
    for serial, uri in boots.items():
        _boot(bench, serial, uri)
        bench.wait_console(serial, "tiny: staying")
    assert _ping(f"t-lab-run.{HOST}", "10.9.9.2")
    for off, on in ((HOST, SWITCH), (SWITCH, HOST)):
        bench.force_off(off)
        nic = "swp2" if on == SWITCH else "eth1"
        assert not _carrier(on, nic)
        _boot(bench, off, boots[off])
        bench.wait_console(off, "tiny: staying", times=2)
        assert _carrier(on, nic)
        assert _ping(f"t-lab-run.{HOST}", "10.9.9.2")
    faults.pull_cable(bench.state, SWITCH, "swp2")
    assert not _carrier(HOST, "eth1")
    faults.pull_cable(bench.state, SWITCH, "swp2", pulled=False)
    assert _ping(f"t-lab-run.{HOST}", "10.9.9.2")


def test_cable_passes_lldp(bench: Workbench) -> None:
    port = next(each for each in spec.load(bench.machines / HOST).ports if each.nic == "eth1")
    floor = names.floor("t-lab-run", "base")
    (bridge,) = ip.show("link", "show", port.bridge, namespace=floor)
    assert int(bridge["linkinfo"]["info_data"]["group_fwd_mask"], 16) & (1 << 0xE)


def test_pulled_cable_means_no_dhcp_and_no_boot(bench: Workbench) -> None:
    faults.pull_cable(bench.state, SPARE, "eth0")
    try:
        _boot(bench, SPARE, _serve(bench, "pulled", ""))
        assert "no DHCP answer on eth0" in bench.wait_console(SPARE, "no bootable device")
    finally:
        faults.pull_cable(bench.state, SPARE, "eth0", pulled=False)
    assert plug.faults(bench.machines / SPARE) == {}


def test_disk_that_fills_up_fails_to_write_and_is_sound_again_afterwards(bench: Workbench) -> None:
    faults.fill_disk(bench.state, SPARE, "sda", room_mib=8)
    try:
        workbench.up(bench.facility, bench.state)
        write = (
            "dd if=/dev/zero of=/dev/sda bs=1M count=64 conv=fsync && echo tiny: written || echo tiny: disk is full\n"
        )
        _boot(bench, SPARE, _serve(bench, "full", "", script=write))
        assert "tiny: disk is full" in bench.wait_console(SPARE, "tiny: staying")
    finally:
        bench.force_off(SPARE)
        faults.fill_disk(bench.state, SPARE, "sda", room_mib=None)
        workbench.up(bench.facility, bench.state)
    assert spec.load(bench.machines / SPARE).disks[0].file.endswith("/disks/sda.img")


def test_clock_of_a_container_cannot_be_set(bench: Workbench) -> None:
    with pytest.raises(UsageError, match="container"):
        faults.set_clock(bench.state, HOST, None)
    _boot(bench, HOST, _serve(bench, "clock", "", script="date -s 2001-01-01\n"))
    assert "Operation not permitted" in bench.wait_console(HOST, "tiny: staying")


def test_sixteen_switched_on_at_once_all_boot(tmp_path: Path) -> None:
    machines = tuple(labs.machine(41, number, site="base") for number in range(1, 17))
    with workbench.standing(labs.facility("t-lab-many", 41, machines=machines), tmp_path) as bench:
        uri = _serve(bench, "many", "")
        hardware_of_all = bench.hardware

        async def all_on() -> None:
            await asyncio.gather(*(hardware_of_all.power_on(machine.serial) for machine in machines))

        for machine in machines:
            bench.set_boot(machine.serial, boot_source="UefiHttp", http_boot_uri=uri)
        asyncio.run(all_on())
        for machine in machines:
            bench.wait_console(machine.serial, "tiny: staying")
