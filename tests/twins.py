"""The twin of a small facility with its boot service, for tests: machines that are deployed, logged in to, and fail."""

from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pydantic import SecretStr

from infra.boot import launch
from infra.boot.client import BootClient
from infra.boot.orders import Deploy, order_for
from infra.lab.bmc import faults as bmc_faults
from infra.lab.twin import faults, images, instance
from infra.lab.twin.ground import Twin
from pachon.drivers import ssh
from pachon.drivers.redfish import Bmc, BootSource, Endpoint, Limits, Power
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
