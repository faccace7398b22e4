"""The twin of a small facility: deployed for real by the real boot service, reached by SSH with real certificates.

No root, no namespaces: everything is on loopback. Faults of machines and BMCs are told as those of real ones would be.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import asyncssh
import pytest
from pydantic import SecretStr

from infra.boot import ca, launch
from infra.boot.client import BootClient
from infra.boot.orders import Deploy, State, order_for
from infra.lab.bmc import faults as bmc_faults
from infra.lab.bmc.faults import Faults
from infra.lab.twin import faults, images, instance
from infra.lab.twin.faults import MachineFaults
from infra.lab.twin.ground import Twin
from infra.provider import programs
from pachon.drivers import ssh
from pachon.drivers.redfish import Bmc, BootSource, Endpoint, Inventory, Limits, Power, Target, inspect_all
from pachon.errors import PermanentError, TemporaryError
from pachon.model.facility import (
    DeployLimits,
    Disk,
    Facility,
    Hardware,
    Host,
    HostState,
    Machine,
    Nic,
    Segment,
    Site,
)
from pachon.progress import silent

GENERATION = "0123456789ab"
LIMITS = Limits(request=timedelta(seconds=5), total=timedelta(seconds=40))


def machine(number: int) -> Machine:
    return Machine(
        serial=f"TWN{number}",
        site="base",
        rack="r1",
        unit=number,
        vendor="pachon",
        model="container",
        cpus=2,
        memory_mib=1024,
        bmc_address=IPv4Address("198.19.71.0") + number,
        management_address=IPv4Address("198.19.70.10") + number,
        bmc_tls_sha256="",
        nics=(
            Nic(name="eth0", mac=f"02:70:00:00:00:{number:02x}", speed_gbps=10),
            Nic(name="swp1", mac=f"02:70:00:00:01:{number:02x}", speed_gbps=25),
        ),
        disks=(
            Disk(name="vda", serial=f"TD{number}", media="ssd", size_gib=4),
            Disk(name="vdb", serial=f"TE{number}", media="hdd", size_gib=8),
        ),
    )


def facility(name: str) -> Facility:
    hosts = tuple(
        Host(
            name=f"base-batch0{number}",
            site="base",
            machine=f"TWN{number}",
            enclave="batch",
            address=IPv4Address("198.19.72.10") + number,
            groups=(),
            flavour="server",
            pool="",
            state=HostState.ACTIVE,
        )
        for number in range(1, 5)
    )
    site = Site(
        name="base",
        title="Base",
        time_zone="America/Santiago",
        management=IPv4Network("198.19.70.0/24"),
        bmc_network=IPv4Network("198.19.71.0/24"),
        boot_address=IPv4Address("198.19.70.2"),
        machines=tuple(machine(number) for number in range(1, 5)),
        unmanaged_switches=(),
        cables=(),
        segments=(Segment(enclave="batch", site="base", subnet=IPv4Network("198.19.72.0/24"), vni=72),),
        hosts=hosts,
        storage_pools=(),
        volumes=(),
        deploy=DeployLimits(),
    )
    return Facility(
        name=name,
        title="Twin test",
        domain="twin.test",
        hardware=Hardware.LAB,
        prefix=IPv4Network("198.19.70.0/23"),
        sites=(site,),
        enclaves=(),
        flows=(),
        links=(),
        placements=(),
    )


class Rig:
    """A twin with its boot service."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.facility = facility("t-twin")
        self.site = self.facility.sites[0]
        self.images = images.ensure("server", cache=state.parent / "cache")
        self.twin = Twin(self.facility)
        self.boot = BootClient(launch.admin_socket(state, "base"))
        self.folder = instance.machines_folder(state)

    async def up(self) -> None:
        await self.twin.up(self.state, silent)
        await launch.ensure(
            self.facility,
            self.site,
            state=self.state,
            images=self.images,
            progress=silent,
            **self.twin.boot_settings(self.site),
        )

    async def down(self) -> None:
        await launch.stop(self.state, "base")
        await self.twin.down(self.state, silent)

    async def clean(self) -> None:
        faults.clear(self.folder)
        bmc_faults.clear(self.folder)
        for each in self.site.machines:
            if await self.boot.get(each.serial) is not None:
                await self.boot.revoke(each.serial)
                async with self.bmc(each.unit) as bmc:
                    await bmc.set_power(Power.FORCE_OFF)
                    await bmc.eject_media()

    def bmc(self, number: int) -> Bmc:
        door = self.twin.endpoints[str(machine(number).bmc_address)]
        password = SecretStr((self.state / "secrets" / "bmc-base").read_text())
        serial = machine(number).serial
        return Bmc(Endpoint(door.host, door.port), "pachon", password, tls_sha256="", serial=serial, limits=LIMITS)

    async def begin(self, number: int, *, media: bool = False) -> Deploy:
        """Order a deploy and boot the machine into it."""
        order = order_for(self.facility, self.site.hosts[number - 1], self.images, generation=GENERATION)
        deploy = await self.boot.deploy(order)
        async with self.bmc(number) as bmc:
            if media:
                await bmc.insert_media(deploy.media_url)
                await bmc.set_boot(BootSource.MEDIA)
            else:
                await bmc.set_boot(BootSource.HTTP, uri=deploy.http_boot_uri)
            await bmc.set_power(Power.FORCE_RESTART)
        return deploy

    async def deploy(self, number: int, *, media: bool = False) -> Deploy:
        await self.begin(number, media=media)
        return await self.boot.wait(machine(number).serial)

    async def login(self, number: int, *, patience: float = 20) -> ssh.Host:
        address = str(machine(number).management_address)
        door = self.twin.endpoints[address]
        return await ssh.wait_for_login(
            door.host,
            port=door.port,
            alias=address,
            credentials=ssh.Credentials.of_state(self.state),
            patience=timedelta(seconds=patience),
        )

    def console(self, number: int) -> str:
        return (self.folder / machine(number).serial / "console.log").read_text()


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
