"""The twin of a small facility: deployed for real by the real boot service, reached by SSH with real certificates.

No root, no namespaces: everything is on loopback. Faults of machines and BMCs are told as those of real ones would be.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from pydantic import SecretStr

from infra.boot import ca
from infra.boot.orders import Deploy, State
from infra.lab.bmc import faults as bmc_faults
from infra.lab.bmc.faults import Faults
from infra.lab.twin import faults, instance
from infra.lab.twin.faults import MachineFaults
from infra.provider import programs
from pachon.drivers.redfish import BootSource, Endpoint, Inventory, Limits, Power, Target, inspect_all
from pachon.errors import PermanentError, TemporaryError
from tests.twins import Rig, machine


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    """One twin for all tests here; its processes outlive each test's event loop."""
    # Short: the boot service has a socket in it.
    top = Path(tempfile.mkdtemp(prefix="pachon-twin-"))
    rig = Rig(top / "s")
    try:
        asyncio.run(rig.up())
        yield rig
    finally:
        asyncio.run(rig.down())
        shutil.rmtree(top)


@pytest.fixture
def rig(shared: Rig) -> Rig:
    """The twin with sound machines, all of them off and deployed by nobody."""
    asyncio.run(shared.clean())
    return shared


def play(rig: Rig, script: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        await script(rig)

    asyncio.run(run())


@pytest.mark.parametrize("media", [False, True], ids=["http", "media"])
def test_a_machine_is_deployed_and_its_first_login_is_trusted(rig: Rig, media: bool) -> None:
    async def script(rig: Rig) -> None:
        deploy = await rig.deploy(1, media=media)
        assert deploy.state is State.DONE
        assert deploy.inventory is not None
        assert [disk.serial for disk in deploy.inventory.disks] == ["TD1", "TE1"]
        host = await rig.login(1)
        assert await host.run("hostname") == "base-batch01\n"
        told = await host.run_program(programs.text("stamp"), {"fencing_token": 0})
        assert ca.stamp_is_genuine(rig.state, "base", told["stamp"], told["signature"])
        with pytest.raises(PermanentError, match="no operating system"):
            await host.run("rm -rf /")
        await host.close()
        async with rig.bmc(1) as bmc:
            assert (await bmc.boot()).source is BootSource.NONE
            await bmc.set_power(Power.FORCE_OFF)
            with pytest.raises(TemporaryError):
                await rig.login(1, patience=0)
            await bmc.set_power(Power.ON)
        await (await rig.login(1)).close()

    play(rig, script)


def test_what_programs_made_is_kept_and_checked(rig: Rig) -> None:
    async def script(rig: Rig) -> None:
        await rig.deploy(1)
        host = await rig.login(1)
        segment = {"verb": "apply", "stamp": "base/network/batch@a1", "bridge": "b72", "ports": ["swp1"]}
        made = {"stamp": "base/network/batch@a1", "ports": ["swp1"], "up": True}
        disks = [{"serial": "TE1", "name": "vdb"}]
        volume = {"volume": "scratch", "pool": "p", "disks": disks, "file_system": "btrfs", "mirrored": False}
        volume |= {"stamp": "base/volume/scratch@b2", "size_bytes": 1 << 30, "mount": "/scratch"}

        async def ask(name: str, **call: object) -> dict[str, object]:
            return await host.run_program(programs.text(name), {"fencing_token": 7, **call})

        assert await ask("segments", **segment) == made
        assert "error" in await ask("segments", **{**segment, "ports": ["swp9"]})
        assert "error" in await ask("segments", **{**segment, "stamp": "base/network/other@c3"})
        assert "older than 7" in str((await ask("segments", **segment, fencing_token=6))["error"])
        assert (await ask("volumes", verb="apply", **volume))["mounted"] is True
        assert "error" in await ask("volumes", verb="apply", **{**volume, "disks": [{"serial": "X", "name": "x"}]})
        await host.close()
        async with rig.bmc(1) as bmc:
            await bmc.set_power(Power.FORCE_RESTART)
        host = await rig.login(1)
        assert await ask("segments", **{**segment, "verb": "read"}) == made
        assert (await ask("volumes", verb="read", **volume))["size_bytes"] == 1 << 30
        assert (await ask("volumes", verb="remove", **volume)) == {"stamp": ""}
        assert (await ask("volumes", verb="read", **volume)) == {"stamp": "", "mounted": False}
        await host.close()

    play(rig, script)


def test_the_twin_outlives_its_starter_and_up_again_changes_nothing(rig: Rig) -> None:
    async def script(rig: Rig) -> None:
        await rig.deploy(1)
        before = await instance.status("t-twin", state=rig.state)
        heard: list[str] = []
        await instance.up(rig.facility, state=rig.state, progress=lambda event: heard.append(event.state))
        after = await instance.status("t-twin", state=rig.state)
        assert heard == ["started", "unchanged"]
        assert after == before
        assert {each.serial: each.on for each in after.machines}["TWN1"]
        # Its process is killed: machines are as they were when it comes back.
        instance._stop(rig.state)
        assert rig.twin.endpoints == {}
        await rig.up()
        await (await rig.login(1)).close()

    play(rig, script)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (MachineFaults(wrong_digest=True), "digest"),
        (MachineFaults(disk_full=True), "too small"),
        (MachineFaults(clock_offset_seconds=-86400.0), "clock of TWN1"),
        (MachineFaults(other_serial="ELSE"), "its serial is 'ELSE'"),
    ],
    ids=["digest", "disk", "clock", "serial"],
)
def test_a_broken_machine_fails_alone_with_a_cure(rig: Rig, fault: MachineFaults, says: str) -> None:
    async def script(rig: Rig) -> None:
        faults.put(rig.folder, {"TWN1": fault})
        sick, sound = await asyncio.gather(rig.deploy(1), rig.deploy(2), return_exceptions=True)
        assert isinstance(sick, PermanentError)
        assert says in sick.message
        assert sick.cure
        assert isinstance(sound, Deploy), sound
        assert sound.state is State.DONE
        assert "FAILED" in rig.console(1)
        async with rig.bmc(1) as bmc:
            assert await bmc.power() is Power.FORCE_OFF
        faults.clear(rig.folder, "TWN1")
        assert (await rig.deploy(1)).state is State.DONE

    play(rig, script)


def test_a_machine_that_never_calls_back_is_on_and_silent(rig: Rig) -> None:
    async def script(rig: Rig) -> None:
        faults.put(rig.folder, {"TWN1": MachineFaults(never_calls_back=True)})
        await rig.begin(1)
        await rig.deploy(2)
        deploy = await rig.boot.get("TWN1")
        assert deploy is not None
        assert deploy.state is State.WAITING
        async with rig.bmc(1) as bmc:
            assert await bmc.power() is Power.ON
        (told,) = [
            each for each in (await instance.status("t-twin", state=rig.state)).machines if each.serial == "TWN1"
        ]
        assert told.halted

    play(rig, script)


def test_an_impostor_gets_nothing_and_the_machine_is_deployed_all_the_same(rig: Rig) -> None:
    async def script(rig: Rig) -> None:
        faults.put(rig.folder, {"TWN1": MachineFaults(impostor=True)})
        deploy = await rig.deploy(1)
        assert deploy.state is State.DONE
        lines = (rig.folder / "TWN1" / "impostor").read_text().split()
        tried = dict(zip(lines[::2], lines[1::2], strict=True))
        assert tried == {"guessed-token": "404", "no-token": "404", "stolen-token": "403", "host-keys": "400"}
        assert any("asked for from 127.0.0.1" in refusal for refusal in deploy.refusals)

    play(rig, script)


def test_a_stranger_at_the_host_address_is_not_believed(rig: Rig) -> None:
    async def script(rig: Rig) -> None:
        await rig.deploy(1)
        faults.put(rig.folder, {"TWN1": MachineFaults(stranger_ssh=True)})
        with pytest.raises(PermanentError, match="no host key that this facility has signed"):
            await rig.login(1)
        faults.put(rig.folder, {"TWN1": MachineFaults(no_ssh=True)})
        with pytest.raises(TemporaryError, match="no SSH answer"):
            await rig.login(1, patience=0)
        faults.clear(rig.folder)
        door = rig.twin.endpoints[str(machine(1).management_address)]
        # A key that no users CA signed, and a good key under another name.
        stranger = asyncssh.generate_private_key("ssh-ed25519")
        keys = rig.state / "keys"
        for user, key in (
            ("pachon", stranger),
            ("root", (str(keys / "automation"), str(keys / "automation-cert.pub"))),
        ):
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(
                    door.host, door.port, username=user, client_keys=[key], known_hosts=None, agent_path=None, config=[]
                )

    play(rig, script)


def test_faults_of_bmcs_are_told_per_machine(rig: Rig) -> None:
    async def script(rig: Rig) -> None:
        bmc_faults.put(rig.folder, {"TWN1": Faults(no_answer=True), "TWN2": Faults(other_serial="ELSE")})
        password = SecretStr((rig.state / "secrets" / "bmc-base").read_text())
        doors = rig.twin.endpoints
        targets = [
            Target(
                serial=each.serial,
                endpoint=Endpoint(doors[str(each.bmc_address)].host, doors[str(each.bmc_address)].port),
            )
            for each in rig.site.machines
        ]
        limits = Limits(request=timedelta(seconds=3))
        results = await inspect_all(targets, "pachon", password, limits=limits)
        assert isinstance(results["TWN1"], TemporaryError)
        assert isinstance(results["TWN2"], PermanentError)
        assert isinstance(results["TWN3"], Inventory)
        assert isinstance(results["TWN4"], Inventory)

    play(rig, script)
