"""A lab as a whole, for real: what up makes, what down leaves, what killed processes and deleted folders do to it."""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

from infra.lab import alive, cgroups, disks, instance, ip, kernel, names, power, site_bmc, stock
from pachon.errors import PachonError, RefusedError
from pachon.model.facility import Facility, Machine
from pachon.progress import Event, silent
from tests.lab import labs, tiny, workbench

pytestmark = pytest.mark.real

SYSCTLS = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding", "kernel/hostname")


def _facility(name: str, block: int, count: int = 2) -> Facility:
    return labs.facility(name, block, machines=tuple(labs.machine(block, n, site="base") for n in range(1, count + 1)))


def _traces(facility: Facility, state: Path) -> dict[str, object]:
    """Everything on this machine that could be of this lab."""
    namespaces = kernel.NETNS_FOLDER.glob(f"{facility.name}*") if kernel.NETNS_FOLDER.is_dir() else ()
    return {
        "namespaces": sorted(path.name for path in namespaces),
        "processes": cgroups.lab(facility.name).members(),
        "groups": [str(group) for group in Path("/sys/fs/cgroup").glob(f"**/{cgroups.ROOT}/{facility.name}")],
        "loops": disks.attached(state),
        "mounts": kernel.mounts_below(state),
        "links": [link["ifname"] for link in ip.show("link") if link["ifname"] == names.controller_link(facility.name)],
        "routes": [route for route in ip.show("route") if route.get("dst") == str(facility.prefix)],
        "files": [*state.glob("lab*"), *Path("/run/pachon").glob(f"{facility.name}*")],
    }


def _own_network() -> dict[str, object]:
    return {
        "sysctls": [(Path("/proc/sys") / key).read_text() for key in SYSCTLS],
        "rules": ip.show("rule"),
        "links": {link["ifname"] for link in ip.show("link") if not str(link["ifname"]).startswith("pl")},
    }


def _status(facility: Facility, state: Path) -> instance.LabStatus:
    return asyncio.run(instance.status(facility.name, state=state))


def _redfish(machine: Machine) -> bytes:
    """What the machine's BMC answers at its root."""
    trusting = ssl._create_unverified_context()
    with urllib.request.urlopen(f"https://{machine.bmc_address}/redfish/v1/", context=trusting, timeout=30) as answer:
        return bytes(answer.read())


def _events(facility: Facility, state: Path) -> list[Event]:
    events: list[Event] = []
    asyncio.run(instance.up(facility, state=state, progress=events.append))
    return events


def test_up_again_changes_nothing_and_down_leaves_nothing(tmp_path: Path) -> None:
    facility, state = _facility("t-lab-inst", 21), tmp_path / "t-lab-inst"
    before, own = _traces(facility, state), _own_network()
    assert not any(before.values()), before
    try:
        assert _events(facility, state)[-1].state == "done"
        status = _status(facility, state)
        assert status.up and not status.problems
        assert [(machine.serial, machine.on) for machine in status.machines] == [("T21N1", False), ("T21N2", False)]
        again = _events(facility, state)[-1]
        assert (again.state, again.message) == ("unchanged", "everything of it stands")
        assert _status(facility, state) == status
        routes = [route for route in ip.show("route") if route.get("dev") == names.controller_link(facility.name)]
        assert [route["dst"] for route in routes] == [str(facility.prefix)]
        assert _own_network() == own
        assert b"RedfishVersion" in _redfish(facility.sites[0].machines[1])
    finally:
        workbench.down(facility, state)
    assert _traces(facility, state) == before
    assert _own_network() == own
    workbench.down(facility, state)


def test_nothing_leaves_the_lab_s_namespaces(tmp_path: Path) -> None:
    facility, state = _facility("t-lab-leak", 22), tmp_path / "t-lab-leak"
    try:
        workbench.up(facility, state)
        for namespace in ("t-lab-leak-hub", "t-lab-leak-base"):
            for target in ("192.0.2.1", "198.19.99.1", "8.8.8.8"):
                found = subprocess.run(
                    ["ip", "-n", namespace, "route", "get", target], capture_output=True, check=False
                )
                assert found.returncode != 0, (namespace, target, found.stdout)
    finally:
        workbench.down(facility, state)


def test_service_left_on_the_floor_is_ended_by_down(tmp_path: Path) -> None:
    facility, state = _facility("t-lab-svc", 34, count=1), tmp_path / "t-lab-svc"
    try:
        workbench.up(facility, state)
        service = subprocess.Popen([*instance.place(facility, "base"), "sleep", "3600"])
    finally:
        workbench.down(facility, state)
    assert service.wait() == -signal.SIGKILL


def test_killed_bmc_is_started_again_and_finds_the_machines_as_they_are(tmp_path: Path) -> None:
    with workbench.standing(_facility("t-lab-bmc", 23), tmp_path) as bench:
        tiny.write_disk(tmp_path, bench.machines / "T23N1" / "disks" / "sda.img")
        bench.power_on("T23N1")
        bench.wait_console("T23N1", "tiny: staying")
        lock = site_bmc.lock_path(bench.state / "lab" / "sites" / "base.json")
        assert alive.send(lock, signal.SIGKILL)
        cgroups.bmc("t-lab-bmc", "base").kill()
        assert _status(bench.facility, bench.state).problems == ("the BMCs of base do not answer",)
        workbench.up(bench.facility, bench.state)
        status = _status(bench.facility, bench.state)
        assert status.up
        assert [(machine.on, machine.boots) for machine in status.machines] == [(True, 1), (False, 0)]


def test_after_everything_was_killed_up_revives_the_lab_with_its_disks(tmp_path: Path) -> None:
    with workbench.standing(_facility("t-lab-kill", 24), tmp_path) as bench:
        disk = bench.machines / "T24N1" / "disks" / "sda.img"
        tiny.write_disk(tmp_path, disk)
        bench.power_on("T24N1")
        bench.wait_console("T24N1", "tiny: staying")
        cgroups.lab("t-lab-kill").kill()
        events = _events(bench.facility, bench.state)
        assert "T24N1" in events[-1].message
        status = _status(bench.facility, bench.state)
        assert status.up
        assert not any(machine.on for machine in status.machines)
        assert not ip.exists("t-lab-kill.T24N1")
        bench.power_on("T24N1")
        bench.wait_console("T24N1", "tiny: staying", times=2)


def test_keeper_killed_alone_means_off_and_nothing_holds_the_disk(tmp_path: Path) -> None:
    with workbench.standing(_facility("t-lab-keep", 25), tmp_path) as bench:
        tiny.write_disk(tmp_path, bench.machines / "T25N1" / "disks" / "sda.img")
        bench.power_on("T25N1")
        bench.wait_console("T25N1", "tiny: staying")
        pid = power.keeper(bench.machines / "T25N1")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        bench.wait_off("T25N1")
        assert not cgroups.machine("t-lab-keep", "T25N1").populated()
        bench.power_on("T25N1")
        bench.wait_console("T25N1", "tiny: staying", times=2)

        # Its disk's file is removed under it: the status says so until it is off and was given a new one.
        (bench.machines / "T25N1" / "disks" / "sda.img").unlink()
        workbench.up(bench.facility, bench.state)
        (problem,) = _status(bench.facility, bench.state).problems
        assert "disk sda of T25N1 was removed" in problem
        bench.force_off("T25N1")
        bench.wait_off("T25N1")
        workbench.up(bench.facility, bench.state)
        assert _status(bench.facility, bench.state).up
        assert not any(disk.deleted for disk in disks.attached(bench.state))


def test_down_works_when_half_of_it_is_missing(tmp_path: Path) -> None:
    facility, state = _facility("t-lab-half", 26), tmp_path / "t-lab-half"
    before = _traces(facility, state)
    workbench.up(facility, state)
    try:
        subprocess.run(["ip", "netns", "del", "t-lab-half-base"], check=True)
        (state / "lab" / "lab.json").unlink(missing_ok=True)
        shutil.rmtree(state / "lab" / "sites")
    finally:
        workbench.down(facility, state)
    assert _traces(facility, state) == before


@pytest.mark.parametrize("then", ["down", "up"])
def test_state_deleted_by_hand_is_recognised(tmp_path: Path, then: str) -> None:
    facility, state = _facility("t-lab-gone", 27), tmp_path / "t-lab-gone"
    before = _traces(facility, state)
    workbench.up(facility, state)
    try:
        shutil.rmtree(state)
        assert disks.attached(state)
        if then == "up":
            workbench.up(facility, state)
            assert _status(facility, state).up
            assert len(disks.attached(state)) == 2
    finally:
        workbench.down(facility, state)
    assert _traces(facility, state) | {"files": []} == before


def test_lost_network_is_made_again(tmp_path: Path) -> None:
    facility, state = _facility("t-lab-lost", 28), tmp_path / "t-lab-lost"
    try:
        workbench.up(facility, state)
        subprocess.run(["ip", "netns", "del", "t-lab-lost-hub"], check=True)
        workbench.up(facility, state)
        assert b"RedfishVersion" in _redfish(facility.sites[0].machines[0])
    finally:
        workbench.down(facility, state)


def test_two_labs_stand_side_by_side_and_one_goes_without_the_other(tmp_path: Path) -> None:
    one, other = _facility("t-lab-one", 29), _facility("t-lab-one-b", 30)
    states = {facility.name: tmp_path / facility.name for facility in (one, other)}
    try:
        for facility in (one, other):
            workbench.up(facility, states[facility.name])
        standing = _status(other, states["t-lab-one-b"])
        workbench.down(one, states["t-lab-one"])
        assert _status(other, states["t-lab-one-b"]) == standing
        assert standing.up
        assert len(disks.attached(states["t-lab-one-b"])) == 2
    finally:
        for facility in (one, other):
            workbench.down(facility, states[facility.name])


def test_lab_of_another_owner_is_refused(tmp_path: Path) -> None:
    facility, mine, theirs = (
        _facility("t-lab-own", 31),
        tmp_path / "mine" / "t-lab-own",
        tmp_path / "theirs" / "t-lab-own",
    )
    try:
        workbench.up(facility, theirs)
        with pytest.raises(RefusedError, match="belongs to") as refusal:
            workbench.up(facility, mine)
        assert str(theirs.parent) in refusal.value.cure
        with pytest.raises(RefusedError):
            workbench.down(facility, mine)
        assert _status(facility, theirs).up
        assert not _status(facility, mine).up
    finally:
        workbench.down(facility, theirs)


def test_prefix_of_another_lab_is_refused(tmp_path: Path) -> None:
    one, thief = _facility("t-lab-pre", 32), _facility("t-lab-pre-b", 32)
    try:
        workbench.up(one, tmp_path / "t-lab-pre")
        with pytest.raises(PachonError, match=r"198\.19\.32\.0/24"):
            workbench.up(thief, tmp_path / "t-lab-pre-b")
    finally:
        workbench.down(thief, tmp_path / "t-lab-pre-b")
        workbench.down(one, tmp_path / "t-lab-pre")


def test_machine_that_is_not_defined_any_more_is_taken_away(tmp_path: Path) -> None:
    two, one, state = _facility("t-lab-less", 33), _facility("t-lab-less", 33, count=1), tmp_path / "t-lab-less"
    try:
        workbench.up(two, state)
        workbench.up(one, state)
        assert [machine.serial for machine in _status(one, state).machines] == ["T33N1"]
        assert [Path(disk.file).parts[-3] for disk in disks.attached(state)] == ["T33N1"]
        assert [path.name for path in stock.machines_folder(state).iterdir()] == ["T33N1"]
    finally:
        asyncio.run(instance.down("t-lab-less", state=state, progress=silent))
