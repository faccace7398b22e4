"""A site with two machines, small images and a boot service on loopback, for tests without root."""

import contextlib
import hashlib
import random
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from infra.boot import launch
from infra.boot.orders import Order, Settings, order_for
from pachon import program_text
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

CMDLINE_AT = 1024
CMDLINE_BYTES = 1024


@dataclass(frozen=True)
class File:
    digest: str
    path: Path
    raw_size_bytes: int


@dataclass(frozen=True)
class Images:
    root: File
    kernel: File
    deploy: File


@dataclass(frozen=True)
class Bench:
    """What a test of the boot service works with."""

    facility: Facility
    state: Path
    images: Images
    raw: bytes
    settings: Settings

    @property
    def site(self) -> Site:
        return self.facility.sites[0]

    @property
    def socket(self) -> Path:
        return launch.admin_socket(self.state, self.site.name)

    def order(self, number: int = 0, generation: str = "0123456789ab") -> Order:
        return order_for(self.facility, self.site.hosts[number], self.images, generation=generation)


def small_uki(path: Path, *, cmdline: bytes = b"console=ttyS0 ") -> Path:
    """The least that has a PE section table with a .cmdline section."""
    head = bytearray(CMDLINE_AT)
    head[0:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    head[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<H", head, 0x86, 1)
    struct.pack_into("<H", head, 0x94, 0)
    struct.pack_into("<8sIIII", head, 0x98, b".cmdline", CMDLINE_BYTES, 0, CMDLINE_BYTES, CMDLINE_AT)
    path.write_bytes(bytes(head) + cmdline.ljust(CMDLINE_BYTES - 1) + b"\0" + b"kernel" * 100_000)
    return path


def machine(serial: str, number: int, address: str) -> Machine:
    return Machine(
        serial=serial,
        site="base",
        rack="r1",
        unit=number,
        vendor="Pachon",
        model="container",
        cpus=1,
        memory_mib=512,
        bmc_address=IPv4Address(f"198.19.61.{10 + number}"),
        management_address=IPv4Address(address),
        bmc_tls_sha256="",
        nics=(
            Nic(name="eth0", mac=f"52:54:00:60:00:0{number}", speed_gbps=1),
            Nic(name="eth1", mac=f"52:54:00:60:01:0{number}", speed_gbps=10),
        ),
        disks=(Disk(name="sda", serial=f"DISK{number}", media="ssd", size_gib=2),),
    )


def host(name: str, serial: str, number: int) -> Host:
    return Host(
        name=name,
        site="base",
        machine=serial,
        enclave="batch",
        address=IPv4Address(f"198.19.62.{10 + number}"),
        groups=(),
        flavour="server",
        pool="",
        state=HostState.ACTIVE,
    )


def facility_with(limits: DeployLimits) -> Facility:
    site = Site(
        name="base",
        title="Base",
        time_zone="America/Santiago",
        management=IPv4Network("127.0.0.0/24"),
        bmc_network=IPv4Network("198.19.61.0/24"),
        boot_address=IPv4Address("127.0.0.1"),
        machines=(machine("SN1", 1, "127.0.0.1"), machine("SN2", 2, "127.0.0.2")),
        unmanaged_switches=(),
        cables=(),
        segments=(Segment(enclave="batch", site="base", subnet=IPv4Network("198.19.62.0/24"), vni=62),),
        hosts=(host("base-batch01", "SN1", 1), host("base-batch02", "SN2", 2)),
        storage_pools=(),
        volumes=(),
        deploy=limits,
    )
    return Facility(
        name="t-boot",
        title="Boot test",
        domain="boot.test",
        hardware=Hardware.LAB,
        prefix=IPv4Network("198.19.60.0/22"),
        sites=(site,),
        enclaves=(),
        flows=(),
        links=(),
        placements=(),
    )


def packed(path: Path, raw: bytes) -> File:
    done = subprocess.run(["zstd", "-q", "-c"], input=raw, capture_output=True, check=True)
    path.write_bytes(done.stdout)
    return File(f"sha256:{hashlib.sha256(done.stdout).hexdigest()}", path, len(raw))


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, below those that the kernel deals out to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


@pytest.fixture
def limits() -> DeployLimits:
    return DeployLimits(per_rack=1, per_boot_server=1, silence_seconds=60, clock_skew_seconds=300)


@pytest.fixture
def bench(limits: DeployLimits) -> Iterator[Bench]:
    """Folders of a facility, images in them, trust prepared; no service yet."""
    top = Path(tempfile.mkdtemp(prefix="t-boot-"))
    try:
        raw = b"\0" * (3 << 20) + bytes(range(256)) * 8192 + b"\0" * (1 << 20) + b"end" * 100
        uki = small_uki(top / "deploy.efi")
        images = Images(
            root=packed(top / "root.zst", raw),
            kernel=packed(top / "kernel.tar.zst", b"kernel"),
            deploy=File(f"sha256:{hashlib.sha256(uki.read_bytes()).hexdigest()}", uki, 0),
        )
        facility = facility_with(limits)
        state = top / "state"
        launch.prepare(facility, state=state)
        http_port, https_port = free_ports(2)
        settings = launch.settings_of(
            facility,
            facility.sites[0],
            state=state,
            deploy_image=images.deploy,
            http_port=http_port,
            https_port=https_port,
            dhcp=False,
        )
        yield Bench(facility=facility, state=state, images=images, raw=raw, settings=settings)
    finally:
        shutil.rmtree(top)


@pytest.fixture(autouse=True)
def text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is not edited while these tests run, whatever is."""
    monkeypatch.setattr(program_text, "is_what_runs", lambda *folders: True)
