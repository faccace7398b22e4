"""A small facility made in code, and a world of files for it: what tests of provider, stacks and faults share."""

import asyncio
import json
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from infra.provider.folder import seed_machine
from pachon import places
from pachon.drivers.pulumi import Engine, Stack
from pachon.drivers.run_file import Budgets
from pachon.model.facility import (
    Cable,
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
    StoragePool,
    UnmanagedSwitch,
    Volume,
)
from pachon.model.hardware import ImageFacts, StackName
from pachon.store.database import Store, open_store
from pachon.store.lease import Lease, acquire, release

GIB = 2**30


def image(flavour: str, version: int = 1) -> ImageFacts:
    """An image that does not exist."""
    digit = f"{version:x}"
    return ImageFacts(
        digest=f"sha256:{digit * 64}",
        raw_digest=f"sha256:{digit * 63}a",
        raw_size_bytes=GIB,
        kernel_digest=f"sha256:{digit * 62}{len(flavour):02x}",
        kernel_raw_size_bytes=GIB // 8,
    )


def images(version: int = 1) -> dict[str, ImageFacts]:
    """Images of both flavours."""
    return {flavour: image(flavour, version) for flavour in ("server", "switch")}


def machine(number: int, *, switch: bool = False, ports: int = 4) -> Machine:
    """Machine S<number>: two NICs (a switch: eth0 and its ports), two disks."""
    names = ["eth0", *[f"swp{port}" for port in range(1, ports + 1)]] if switch else ["eth0", "eth1"]
    return Machine(
        serial=f"S{number:04d}",
        site="base",
        rack=f"r{number % 4}",
        unit=number % 40,
        vendor="Acme",
        model="container",
        cpus=2,
        memory_mib=2048,
        bmc_address=IPv4Address("198.19.232.0") + number,
        management_address=IPv4Address("198.19.240.10") + number,
        bmc_tls_sha256="",
        nics=tuple(
            Nic(name=name, mac=f"52:54:00:{number // 256:02x}:{number % 256:02x}:{index:02x}", speed_gbps=10)
            for index, name in enumerate(names)
        ),
        disks=tuple(
            Disk(name=name, serial=f"D{number:04d}{name[-1].upper()}", media="ssd", size_gib=8)
            for name in ("sda", "sdb")
        ),
    )


def host(number: int, *, switch: bool = False) -> Host:
    """The host on machine S<number>."""
    return Host(
        name=f"base-{'sw' if switch else 'h'}{number:03d}",
        site="base",
        machine=f"S{number:04d}",
        enclave="management" if switch else "batch",
        address=IPv4Address("198.19.248.10") + number,
        groups=("switch",) if switch else ("batch",),
        flavour="switch" if switch else "server",
        pool="",
        state=HostState.ACTIVE,
    )


def facility(*, hosts: int = 2, switches: int = 0, volumes: int = 0, name: str = "filed") -> Facility:
    """One site, ``base``; machines 1… are hosts, then switches; volumes on the first hosts' second disks."""
    machines = [machine(number) for number in range(1, hosts + 1)]
    switch_numbers = range(hosts + 1, hosts + switches + 1)
    machines += [machine(number, switch=True, ports=max(4, hosts)) for number in switch_numbers]
    cables = [
        Cable(machine=f"S{number:04d}", nic="eth1", switch=f"S{hosts + 1:04d}", port=f"swp{number}")
        for number in range(1, hosts + 1)
        if switches
    ]
    site = Site(
        name="base",
        title="Base",
        time_zone="UTC",
        management=IPv4Network("198.19.240.0/21"),
        bmc_network=IPv4Network("198.19.232.0/21"),
        boot_address=IPv4Address("198.19.240.2"),
        machines=tuple(machines),
        unmanaged_switches=(UnmanagedSwitch(name="mgmt", rack="r0", ports=48),),
        cables=tuple(cables),
        segments=(Segment(enclave="batch", site="base", subnet=IPv4Network("198.19.248.0/22"), vni=110),),
        hosts=(
            *(host(number) for number in range(1, hosts + 1)),
            *(host(number, switch=True) for number in switch_numbers),
        ),
        storage_pools=tuple(
            StoragePool(
                name=f"pool{number}",
                site="base",
                host=host(number).name,
                disks=("sdb",),
                file_system="btrfs",
                mirrored=False,
            )
            for number in range(1, volumes + 1)
        ),
        volumes=tuple(
            Volume(name=f"scratch{number}", site="base", pool=f"pool{number}", size_gib=2, mount="/srv/scratch")
            for number in range(1, volumes + 1)
        ),
        deploy=DeployLimits(),
    )
    return Facility(
        name=name,
        title="Filed",
        domain="filed.test",
        hardware=Hardware.LAB,
        prefix=IPv4Network("198.19.232.0/19", strict=False),
        sites=(site,),
        enclaves=(),
        flows=(),
        links=(),
        placements=(),
    )


def without_hosts(whole: Facility, *names: str) -> Facility:
    """The facility with these hosts dropped from its definition."""
    site = whole.sites[0]
    kept = tuple(each for each in site.hosts if each.name not in names)
    return whole.model_copy(update={"sites": (site.model_copy(update={"hosts": kept}),)})


@dataclass(frozen=True)
class World:
    """A facility whose machines are files, with the folders that a controller has."""

    facility: Facility
    folder: Path
    state: Path
    pulumi: Path

    @property
    def store(self) -> Store:
        """The control store, opened."""
        return open_store(places.store(self.state))

    def serial(self, number: int) -> dict[str, Any]:
        """File of a machine."""
        document = json.loads((self.folder / "machines" / f"S{number:04d}.json").read_text())
        return dict(document)

    def host_file(self, name: str) -> dict[str, Any]:
        """File of what an operating system keeps."""
        return dict(json.loads((self.folder / "hosts" / f"{name}.json").read_text()))

    def settings(self, *, latency: dict[str, float] | None = None, faults: dict[str, str] | None = None) -> None:
        """Set latencies (seconds) and faults (by serial)."""
        document = {"latency": latency or {}, "faults": faults or {}}
        (self.folder / "settings.json").write_text(json.dumps(document))

    def acquire(self) -> Lease:
        """The site's lease."""
        store = self.store
        try:
            return acquire(store, "base", facility=self.facility.name, command="test")
        finally:
            store.close()

    def release(self, lease: Lease) -> None:
        """Give it back."""
        store = self.store
        release(store, lease, "done")
        store.close()

    def engine(self, lease: Lease | None) -> Engine:
        """The engine over this world."""
        budgets = Budgets(ssh_seconds=5, adoption_seconds=0.3, deploy_seconds=120)
        return Engine(
            pulumi=self.pulumi, state=self.state, lease=lease, world="folder", folder=self.folder, budgets=budgets
        )

    def stack(self, name: StackName = "compute", *, version: int = 1) -> Stack:
        """A stack of the site, with images of that version."""
        return Stack(name=name, facility=self.facility, site="base", images=images(version))

    def of(self, facility: Facility) -> "World":
        """The same world under another definition."""
        return replace(self, facility=facility)


def make_world(folder: Path, whole: Facility, pulumi: Path) -> World:
    """The facility's machines, off and blank, and an empty state folder."""
    world = World(facility=whole, folder=folder / "world", state=folder / "state", pulumi=pulumi)
    world.folder.mkdir(parents=True)
    for each in whole.machines:
        seed_machine(
            world.folder,
            each.serial,
            management_address=str(each.management_address),
            macs=[nic.mac for nic in each.nics],
            disks={disk.serial: disk.size_gib * GIB for disk in each.disks},
        )
    return world


def pulumi_cli() -> Path:
    """The Pulumi CLI of the toolchain."""
    from infra.toolchain.programs import find

    return find("pulumi")


def run(coroutine: Any) -> Any:
    """The coroutine's result."""
    return asyncio.run(coroutine)
