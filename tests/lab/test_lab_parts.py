"""The pure parts of the lab: names, wiring, boot sources, and the formats that its firmware reads."""

import gzip
import itertools
import lzma
import os
import struct
import subprocess
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from infra.lab import boot_source, cgroups, console, dhcp, firmware, gpt, initrd, names, uki, wiring
from infra.lab.bmc.hardware import BmcSettings, BootOverride, BootSource, consume_boot
from infra.lab.spec import DiskSpec, MachineSpec, Port
from pachon.errors import UsageError
from pachon.model.facility import Cable
from tests.lab import labs

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("source", "override", "inserted", "uri"),
    list(itertools.product(BootSource, BootOverride, (False, True), ("", "http://198.18.0.2/x.efi"))),
)
def test_keeper_and_bmc_agree_on_what_is_booted_and_what_is_left(
    source: BootSource, override: BootOverride, inserted: bool, uri: str
) -> None:
    settings = BmcSettings(
        boot_source=source, boot_override=override, http_boot_uri=uri, media_path="/m.img", inserted=inserted
    )
    bmc = consume_boot(settings, now=NOW)
    choice, after = boot_source.choose(settings.model_dump(mode="json"), now=NOW)
    assert (choice.source, choice.target) == (bmc.source.value, bmc.target)
    assert BmcSettings.model_validate(after) == bmc.settings


def test_internal_links_stay_in_the_last_part_of_the_prefix() -> None:
    assert names.reserved(IPv4Network("198.18.0.0/16")) == IPv4Network("198.18.255.0/24")
    assert names.reserved(IPv4Network("198.19.20.0/24")) == IPv4Network("198.19.20.240/28")
    assert names.pair(IPv4Network("198.18.0.0/16"), 1).far == IPv4Address("198.18.255.5")
    with pytest.raises(UsageError):
        names.pair(IPv4Network("198.19.20.0/24"), 7)
    with pytest.raises(UsageError):
        names.reserved(IPv4Network("198.19.20.0/29"))


def test_links_bear_names_that_the_kernel_takes() -> None:
    for name in (
        names.controller_link("a-facility-with-a-long-name"),
        names.floor_port("SERIAL-OF-MANY-LETTERS", "enp1s0f0"),
        names.cable_bridge("m0123456789", "m9876543210"),
    ):
        assert len(name) <= 15
    assert names.cable_bridge("a", "b") == names.cable_bridge("b", "a")


def test_network_over_the_lab_s_own_range_is_refused() -> None:
    facility = labs.facility("t-pure", 20, machines=())
    site = facility.sites[0].model_copy(update={"bmc_network": IPv4Network("198.19.20.192/26")})
    with pytest.raises(UsageError, match=r"198\.19\.20\.240/28"):
        wiring.check(facility.model_copy(update={"sites": (site,)}))


def test_cable_between_machines_is_known_from_both_ends() -> None:
    host, switch = labs.machine(20, 1, site="base", nics=2), labs.machine(20, 2, site="base", model="switch", nics=3)
    cable = Cable(machine=host.serial, nic="eth1", switch=switch.serial, port="swp2")
    facility = labs.facility("t-pure", 20, machines=(host, switch), cables=(cable,))
    site = facility.sites[0]
    ports = wiring.ports(facility, site)
    boot, data = ports[host.serial]
    assert (boot.bridge, boot.other) == ("mgmt", "")
    _, unused, used = ports[switch.serial]
    assert unused.bridge == ""
    assert data.bridge == used.bridge != ""
    assert (data.other, used.other) == (f"{switch.serial}/swp2", f"{host.serial}/eth1")
    assert not wiring.cable_lines(site, frozenset({data.bridge}))
    assert wiring.cable_lines(site, frozenset({data.bridge, "c0123456789"})) == ["link del c0123456789"]


@pytest.mark.parametrize(
    ("mountinfo", "membership", "others"),
    [
        ("30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw", "/sys/fs/cgroup", []),
        (
            "31 30 0:27 / /cg/memory rw - cgroup cgroup rw,memory\n32 30 0:28 / /cg/unified rw - cgroup2 cgroup2 rw\n"
            "33 30 0:29 / /cg/cpuset rw - cgroup cgroup rw,cpuset",
            "/cg/unified",
            ["/cg/cpuset", "/cg/memory"],
        ),
        (
            "31 30 0:27 / /cg/pids rw - cgroup cgroup rw,pids\n32 30 0:28 / /cg/systemd rw - cgroup c rw,name=systemd",
            "/cg/pids",
            ["/cg/systemd"],
        ),
    ],
)
def test_hierarchies_are_found_in_v2_hybrid_and_v1(mountinfo: str, membership: str, others: list[str]) -> None:
    found = cgroups.read_hierarchies(mountinfo)
    assert found is not None
    assert (str(found.membership), [str(other) for other in found.others]) == (membership, others)


def test_read_only_cgroups_do_not_count() -> None:
    assert cgroups.read_hierarchies("30 24 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw") is None


def test_a_machine_that_has_booted_stands_back_behind_those_that_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "hierarchies", lambda: cgroups.Hierarchies(tmp_path / "unified", (tmp_path / "cpu",)))
    shares = tmp_path / "cpu" / cgroups.ROOT / "here" / "SN1" / "cpu.shares"
    machine = cgroups.machine("here", "SN1")
    machine.settle(settled=True)
    assert not shares.parent.exists()
    shares.parent.mkdir(parents=True)
    shares.write_text("1024")
    machine.settle(settled=True)
    assert int(shares.read_text()) < 64
    machine.settle(settled=False)
    assert int(shares.read_text()) == 1024


def test_partition_table_is_read_as_sfdisk_wrote_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    os.truncate(os.open(disk, os.O_CREAT | os.O_RDWR), 64 << 20)
    table = f"label: gpt\nsize=8MiB, type=uefi\ntype={gpt.ROOT_TYPE}\n"
    sfdisk = ["/usr/sbin/sfdisk", "-q", "--no-reread", "--no-tell-kernel", str(disk)]
    subprocess.run(sfdisk, input=table, text=True, check=True)
    start = disk.read_bytes()[: gpt.TABLE_BYTES]
    esp, root = gpt.read(start)
    assert (root.number, root.kind, root.first_sector) == (2, gpt.ROOT_TYPE, esp.last_sector + 1)
    assert gpt.read(bytes(len(start))) == ()
    assert gpt.read(start[:512] + bytes([start[512] ^ 1]) + start[513:]) == ()
    assert gpt.read(start[:530]) == ()


def test_partition_nodes_are_named_as_linux_names_them() -> None:
    assert gpt.node_name("sda", 2) == "sda2"
    assert gpt.node_name("nvme0n1", 2) == "nvme0n1p2"


def _pe(sections: dict[str, bytes]) -> bytes:
    head = bytearray(0x400)
    head[:2], head[0x3C:0x40], head[0x80:0x84] = b"MZ", struct.pack("<I", 0x80), b"PE\0\0"
    struct.pack_into("<HHIIIHH", head, 0x84, 0x8664, len(sections), 0, 0, 0, 0, 0)
    body = b""
    for index, (name, content) in enumerate(sections.items()):
        struct.pack_into(
            "<8sIIII", head, 0x98 + 40 * index, name.encode(), len(content), 0, len(content), 0x400 + len(body)
        )
        body += content
    return bytes(head) + body


def test_boot_image_is_taken_apart() -> None:
    image = _pe({".linux": b"kernel", ".initrd": b"initrd", ".cmdline": b"a=1 b=2   \0"})
    parts = uki.read(memoryview(image))
    assert (bytes(parts.initrd), parts.command_line) == (b"initrd", "a=1 b=2")


@pytest.mark.parametrize(
    "image", [b"", b"<html>404</html>", b"MZ", _pe({".linux": b"x"}), _pe({".linux": b"x", ".initrd": b"y" * 99})[:-9]]
)
def test_what_is_no_boot_image_is_refused(image: bytes) -> None:
    with pytest.raises(uki.NotAnImageError):
        uki.read(memoryview(image))


def _archive(name: str, content: bytes, mode: int = 0o100755, links: int = 1, inode: int = 7) -> bytes:
    def entry(name: str, content: bytes, mode: int, links: int) -> bytes:
        fields = (inode, mode, 0, 0, links, 1000, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        head += bytes(-len(head) % 4)
        return head + content + bytes(-len(content) % 4)

    return entry(name, content, mode, links) + entry("TRAILER!!!", b"", 0, 1)


def test_initrd_of_several_archives_is_unpacked_once(tmp_path: Path) -> None:
    zstd = subprocess.run(["zstd", "-q"], input=_archive("d", b"4"), stdout=-1, check=True).stdout
    parts = _archive("a", b"1") + bytes(300) + gzip.compress(_archive("b", b"2")) + lzma.compress(_archive("c/x", b"3"))
    tree = initrd.tree(memoryview(parts + zstd), tmp_path)
    assert {name: (tree / name).read_bytes() for name in ("a", "b", "c/x", "d")} == {
        "a": b"1",
        "b": b"2",
        "c/x": b"3",
        "d": b"4",
    }
    assert (tree / "a").stat().st_mode & 0o777 == 0o755
    assert initrd.tree(memoryview(parts + zstd), tmp_path) == tree
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [tree.name]


@pytest.mark.parametrize("bad", [b"what is this", _archive("../x", b"1"), _archive("a", b"12345678")[:118]])
def test_damaged_initrd_leaves_nothing(tmp_path: Path, bad: bytes) -> None:
    with pytest.raises(initrd.DamagedError):
        initrd.tree(memoryview(bad), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_hard_links_of_an_initrd_share_their_content(tmp_path: Path) -> None:
    first, second = _archive("a", b"", links=2), _archive("b", b"same", links=2)
    trailer = _archive("TRAILER!!!", b"")
    body = first[: first.index(b"070701", 6)] + second[: second.index(b"070701", 6)] + trailer
    initrd.extract(memoryview(body), tmp_path)
    assert (tmp_path / "a").read_bytes() == b"same"
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "b").stat().st_ino


def test_dhcp_message_says_who_asks_for_http_boot() -> None:
    frame = dhcp.message(1, bytes.fromhex("020304050607"), xid=99, machine="00000000-0000-0000-0000-000000000001")
    assert frame[:6] == b"\xff" * 6
    assert dhcp._checksum(frame[14:34]) == 0
    assert dhcp.VENDOR_CLASS in frame
    assert b"\x5d\x02\x00\x10" in frame


def test_dhcp_answer_is_understood_and_strangers_are_not() -> None:
    body = bytearray(240)
    body[0] = 2
    struct.pack_into("!I", body, 4, 99)
    body[16:20], body[236:240] = IPv4Address("198.18.0.16").packed, b"\x63\x82\x53\x63"
    options = (
        b"\x35\x01\x05\x01\x04\xff\xff\xff\xc0\x03\x04\xc6\x12\x00\x01\x36\x04\xc6\x12\x00\x01\x43\x08http://x\xff"
    )
    frame = bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x11" + bytes(10)
    frame += struct.pack("!HHHH", 67, 68, 0, 0) + bytes(body) + options
    answer = dhcp.parse(frame, xid=99)
    assert answer is not None
    lease = dhcp.lease_of(answer)
    assert (str(lease.address), lease.prefix, str(lease.gateway)) == ("198.18.0.16", 26, "198.18.0.1")
    assert lease.boot_uri == "http://x"
    assert dhcp.parse(frame, xid=98) is None
    assert dhcp.parse(frame[:100], xid=99) is None


def _firmware_spec(folder: Path) -> MachineSpec:
    disk = DiskSpec("vda", "DISK-1", f"{folder}/d.img", 1 << 30, "")
    port = Port("eth0", "02:00:00:00:00:01", "m1", "mgmt", "")
    return MachineSpec(
        facility="t-pure",
        mark="",
        site="base",
        serial="S1",
        kind="firmware",
        uuid="00000000-0000-0000-0000-000000000001",
        vendor="Pachon, Inc.",
        model="firmware",
        cpus=2,
        memory_mib=1024,
        namespace="t-pure.S1",
        floor="t-pure-base",
        cache="",
        ports=(port,),
        disks=(disk,),
    )


def test_qemu_is_told_the_identity_and_never_the_boot_address(tmp_path: Path) -> None:
    choice = boot_source.Choice("UefiHttp", "http://198.18.0.2/deploy/SECRET/deploy.efi", True, "")
    words = firmware.argv(
        _firmware_spec(tmp_path), tmp_path, choice=choice, clock="2020-01-01T00:00:00", taps=[5], monitor=6
    )
    line = " ".join(words)
    assert "SECRET" not in line
    assert "type=1,serial=S1" in line
    assert "manufacturer=Pachon,, Inc." in line
    assert "base=2020-01-01T00:00:00" in line
    assert "romfile=" in line


def test_virtual_medium_comes_first_only_when_it_is_the_boot_source(tmp_path: Path) -> None:
    for source, index in (("Cd", "bootindex=0"), ("Hdd", "bootindex=2")):
        choice = boot_source.Choice("Cd" if source == "Cd" else "Hdd", "", True, "/m.img")
        words = firmware.argv(_firmware_spec(tmp_path), tmp_path, choice=choice, clock="", taps=[5], monitor=6)
        (medium,) = [word for word in words if word.startswith("usb-storage")]
        assert medium.endswith(index)


def test_console_is_turned_over_and_its_end_is_shown(tmp_path: Path) -> None:
    console.say(tmp_path, "first")
    console.turn_over(tmp_path, max_bytes=4)
    console.say(tmp_path, "second")
    assert "first" in (tmp_path / "console.log.1").read_text()
    assert [line.rpartition(" ")[2] for line in console.tail(tmp_path, 5)] == ["second"]
    assert console.tail(tmp_path / "none", 5) == []
