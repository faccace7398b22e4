"""Machines of a real lab are deployed through their BMCs by a real boot service, or fail with a reason."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.boot import ca, launch
from infra.boot.client import BootClient
from infra.boot.orders import Deploy, Order, order_for
from infra.image import bake
from infra.image.artefact import ImageSet
from infra.lab import faults, instance
from pachon import places
from pachon.drivers import ssh
from pachon.drivers.redfish import Bmc, BootSource, Endpoint, Power
from pachon.errors import PachonError, PermanentError, TemporaryError
from pachon.model.facility import DeployLimits, Facility, Host, HostState, Machine, Site
from pachon.progress import silent
from tests.lab import labs

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

LOGIN = timedelta(seconds=300)


@dataclass(frozen=True)
class Floor:
    """A lab that is up, with its boot service running."""

    facility: Facility
    state: Path
    images: ImageSet

    @property
    def site(self) -> Site:
        return self.facility.sites[0]

    @property
    def client(self) -> BootClient:
        return BootClient(launch.admin_socket(self.state, self.site.name))

    def machine(self, number: int) -> Machine:
        return self.site.machines[number - 1]

    def order(self, number: int, *, generation: str = "0123456789ab") -> Order:
        return order_for(self.facility, self.site.hosts[number - 1], self.images, generation=generation)

    def bmc(self, number: int) -> Bmc:
        password = (self.state / "secrets" / "bmc-base").read_text().strip()
        endpoint = Endpoint(str(self.machine(number).bmc_address))
        return Bmc(endpoint, "pachon", SecretStr(password), tls_sha256="")

    async def ensure_service(self, site: Site) -> None:
        await launch.ensure(
            self.facility,
            site,
            state=self.state,
            images=self.images,
            progress=silent,
            place=instance.place(self.facility, "base"),
        )

    async def boot(self, number: int, *, uri: str = "", media: str = "") -> None:
        async with self.bmc(number) as bmc:
            if media:
                await bmc.insert_media(media)
            source = BootSource.MEDIA if media else BootSource.HTTP
            await bmc.set_power(Power.FORCE_OFF)
            await bmc.set_boot(source, uri=uri, once=True)
            await bmc.set_power(Power.ON)

    async def console_says(self, number: int, words: str) -> str:
        """The machine's console once it says this."""
        for _ in range(1500):
            status = await instance.status(self.facility.name, state=self.state)
            path = next(each.console for each in status.machines if each.serial == self.machine(number).serial)
            text = path.read_text(errors="replace") if path.exists() else ""
            if words in text:
                return text
            await asyncio.sleep(0.2)
        raise AssertionError(f"the console of {number} never said {words!r}: {text[-2000:]}")

    async def log_in(self, number: int) -> ssh.Host:
        credentials = ssh.Credentials.of_state(self.state)
        address = str(self.machine(number).management_address)
        return await ssh.wait_for_login(address, credentials=credentials, patience=LOGIN)


def _facility(name: str, block: int, machines: tuple[Machine, ...]) -> Facility:
    bare = labs.facility(name, block, machines=machines)
    hosts = tuple(
        Host(
            name=f"base-h{number}",
            site="base",
            machine=machine.serial,
            enclave="batch",
            address=machine.management_address,
            groups=(),
            flavour="server",
            pool="",
            state=HostState.ACTIVE,
        )
        for number, machine in enumerate(machines, start=1)
    )
    return bare.model_copy(update={"sites": (bare.sites[0].model_copy(update={"hosts": hosts}),)})


def _floor(facility: Facility, *, known: int) -> Iterator[Floor]:
    """The lab of this facility; its boot service knows the first machines only."""
    top = Path(tempfile.mkdtemp(prefix="pachon-boot-"))
    floor = Floor(facility, top / facility.name, bake.ensure("server", cache=places.cache()))
    site = floor.site.model_copy(update={"machines": floor.site.machines[:known]})

    async def start() -> None:
        await instance.up(facility, state=floor.state, progress=silent)
        await floor.ensure_service(site)

    async def end() -> None:
        await launch.stop(floor.state, "base")
        await instance.down(facility.name, state=floor.state, progress=silent)

    try:
        asyncio.run(start())
        yield floor
    finally:
        asyncio.run(end())
        shutil.rmtree(top)


@pytest.fixture(scope="module")
def containers() -> Iterator[Floor]:
    machines = tuple(labs.machine(62, number, site="base", disk_gib=2) for number in range(1, 5))
    yield from _floor(_facility("t-boot-c", 62, machines), known=3)


@pytest.fixture(scope="module")
def firmware() -> Iterator[Floor]:
    machines = (labs.machine(63, 1, site="base", model="firmware", disk_gib=2),)
    yield from _floor(_facility("t-boot-f", 63, machines), known=1)


async def _deployed(floor: Floor, number: int, *, media: bool = False) -> Deploy:
    """The deploy when it is done; as the provider does, a machine that falls silent is booted once more."""
    try:
        return await _deployed_at_once(floor, number, media=media)
    except TemporaryError:
        return await _deployed_at_once(floor, number, media=media)


async def _deployed_at_once(floor: Floor, number: int, *, media: bool) -> Deploy:
    deploy = await floor.client.deploy(floor.order(number))
    if media:
        await floor.boot(number, media=deploy.media_url)
    else:
        await floor.boot(number, uri=deploy.http_boot_uri)
    return await floor.client.wait(deploy.serial)


def test_machines_go_from_power_off_to_a_trusted_login_and_strangers_get_nothing(containers: Floor) -> None:
    """One by HTTP boot, one by virtual media; meanwhile one that the tables do not know asks for an address."""

    async def work() -> None:
        first, second = asyncio.create_task(_deployed(containers, 1)), _deployed(containers, 2, media=True)
        stranger = asyncio.create_task(containers.boot(4))
        await second
        done = await first
        await stranger
        assert done.inventory is not None
        assert [disk.serial for disk in done.inventory.disks] == ["D62N1A"]
        for number in (1, 2):
            host = await containers.log_in(number)
            assert (await host.run("hostname")).strip() == f"base-h{number}"
            assert "/dev/sda2" in await host.run("findmnt -n -o SOURCE /")
            stamp = await host.run("cat /etc/pachon/stamp.json")
            signature = await host.run("cat /etc/pachon/stamp.json.sig")
            assert ca.stamp_is_genuine(containers.state, "base", stamp, signature)
            assert "pachon.token" not in await host.run("cat /proc/cmdline")
            answer = await host.run_program("def main(c):\n    import os\n    return {'uid': os.getuid()}", {})
            assert answer == {"uid": 0}
            await host.close()
        assert "no DHCP answer" in await containers.console_says(4, "no bootable device")
        again = await containers.client.deploy(containers.order(1))
        assert again.id == done.id

    asyncio.run(work())
    config = containers.state / "ssh_config"
    argv = ["ssh", "-F", str(config), "base-h1", "sudo -n id -u"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert said.stdout == "0\n", said.stderr


def test_a_known_machine_without_a_token_gets_an_address_and_nothing_else(containers: Floor) -> None:
    async def work() -> None:
        await containers.boot(3)
        console = await containers.console_says(3, "no bootable device")
        assert "404" in console
        assert await containers.client.get(containers.machine(3).serial) is None

    asyncio.run(work())


def test_an_image_with_a_wrong_digest_fails_that_machine_and_leaves_nothing_bootable(containers: Floor) -> None:
    async def work() -> None:
        order = containers.order(3)
        wrong = order.image.model_copy(update={"digest": "sha256:" + "0" * 64})
        deploy = await containers.client.deploy(order.model_copy(update={"image": wrong}))
        await containers.boot(3, uri=deploy.http_boot_uri)
        with pytest.raises(PermanentError, match="in phase image: the image has digest") as caught:
            await containers.client.wait(deploy.serial)
        assert "bake" in caught.value.cure
        await containers.console_says(3, "FAILED in phase image")
        await _until_off(containers, 3)
        await containers.boot(3)
        await containers.console_says(3, "no disk has a root partition")

    asyncio.run(work())


def test_a_disk_that_fills_up_fails_that_machine_with_what_to_do(containers: Floor) -> None:
    async def work() -> None:
        async with containers.bmc(3) as bmc:
            await bmc.set_power(Power.FORCE_OFF)
        serial = containers.machine(3).serial
        faults.fill_disk(containers.state, serial, "sda", room_mib=100)
        await instance.up(containers.facility, state=containers.state, progress=silent)
        deploy = await containers.client.deploy(containers.order(3, generation="0123456789ac"))
        await containers.boot(3, uri=deploy.http_boot_uri)
        with pytest.raises(PermanentError, match="failed in phase image") as caught:
            await containers.client.wait(serial)
        assert "disk" in caught.value.cure
        await _until_off(containers, 3)
        faults.fill_disk(containers.state, serial, "sda", room_mib=None)
        await instance.up(containers.facility, state=containers.state, progress=silent)

    asyncio.run(work())


def test_a_machine_without_its_cable_is_told_as_silent_with_what_to_look_at(containers: Floor) -> None:
    async def work() -> None:
        limits = DeployLimits(silence_seconds=3)
        await containers.ensure_service(containers.site.model_copy(update={"deploy": limits}))
        serial = containers.machine(3).serial
        faults.pull_cable(containers.state, serial, "eth0")
        deploy = await containers.client.deploy(containers.order(3, generation="0123456789ad"))
        await containers.boot(3, uri=deploy.http_boot_uri)
        with pytest.raises(TemporaryError, match="never asked for its deploy image") as caught:
            await containers.client.wait(serial)
        assert "cabled" in caught.value.cure

    asyncio.run(work())


async def _until_off(floor: Floor, number: int) -> None:
    async with floor.bmc(number) as bmc:
        for _ in range(600):
            if await bmc.power() is Power.FORCE_OFF:
                return
            await asyncio.sleep(0.2)
    raise AssertionError("the machine did not switch itself off")


def test_a_machine_with_firmware_and_a_wrong_clock_is_refused_with_what_to_do(firmware: Floor) -> None:
    """That it is deployed once its clock is right, tests/faults/test_up_faults.py tells."""

    async def work() -> None:
        serial = firmware.machine(1).serial
        faults.set_clock(firmware.state, serial, datetime(2001, 9, 9, tzinfo=UTC))
        with pytest.raises(PachonError, match="the clock of T63N1 says 2001-09-0") as caught:
            await _deployed(firmware, 1, media=True)
        assert "UEFI" in caught.value.cure

    asyncio.run(work())
