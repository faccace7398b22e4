"""The disk: partitions, and file systems on them."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from .console import TroubleError, run
from .machine import read, size_of

ESP_MIB = 256
SPARE_MIB = 64
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00C93EC93B4B"
ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
UNFINISHED_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
NODES = Path("/dev/pachon")
"""Device nodes made here; /run may be mounted without devices."""


def partition(disk: str, needed_bytes: int) -> tuple[str, ...]:
    """Device nodes of EFI and root partition on this disk, whose old content is gone."""
    size = size_of(disk)
    wanted = needed_bytes + (ESP_MIB + SPARE_MIB << 20)
    if size < wanted:
        raise TroubleError(f"disk {disk} is too small: {size >> 20} MiB, needed are {wanted >> 20} MiB", "disk")
    run("partx", "-d", disk, allowed=range(256))
    try:
        os.close(os.open(disk, os.O_RDWR | os.O_EXCL))
    except OSError as error:
        raise TroubleError(f"disk {disk} is in use or cannot be written: {error.strerror}", "disk") from error
    run("wipefs", "-a", "-q", disk)
    layout = (
        f"label: gpt\nsize={ESP_MIB}MiB, type={ESP_TYPE}, name=pachon-esp\ntype={UNFINISHED_TYPE}, name=pachon-root\n"
    )
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--wipe", "always", disk, stdin=layout)
    run("partx", "-d", disk, allowed=range(256))
    run("partx", "-a", disk, allowed=range(256))
    nodes = tuple(node_of(disk, number) for number in (1, 2))
    for node in nodes:
        run("wipefs", "-a", "-q", node)
    return nodes


def node_of(disk: str, number: int) -> str:
    """A device node for this partition, made here from what the kernel says (there may be no udev)."""
    base = sysfs_of(disk)
    for _ in range(100):
        for entry in base.glob("*/partition"):
            if read(entry) == str(number):
                major, minor = read(entry.parent / "dev").split(":")
                node = NODES / f"{Path(disk).name}-part{number}"
                NODES.mkdir(exist_ok=True)
                node.unlink(missing_ok=True)
                os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(int(major), int(minor)))
                return str(node)
        time.sleep(0.05)
    raise TroubleError(f"the kernel does not see partition {number} of {disk}", "disk")


def sysfs_of(node: str) -> Path:
    """The kernel's folder of this block device."""
    device = Path(node).stat().st_rdev
    return Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()


def empty(node: str, length: int) -> None:
    """Make the first ``length`` bytes of the device read as zeros, so that zeros need not be written."""
    run("blkdiscard", "-f", node, allowed=range(256))
    if "/loop" not in str(sysfs_of(node)):  # a loop device is known to read zeros after a discard
        run("blkdiscard", "-f", "-z", "-l", str(length + -length % 4096), node)


def grow(node: str) -> None:
    """Give the file system the whole partition and an identity of its own."""
    run("e2fsck", "-f", "-p", node, allowed=(0, 1))
    run("tune2fs", "-U", "random", node)
    run("resize2fs", node)


def finish(disk: str, nodes: tuple[str, ...]) -> None:
    """Make the root partition one that boot loaders look for, and everything safe on the disk."""
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--part-type", disk, "2", ROOT_TYPE)
    for node in (*nodes, disk):
        descriptor = os.open(node, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def spoil(disk: str, nodes: tuple[str, ...]) -> None:
    """Make the disk unbootable after a failure."""
    for node in (*nodes, disk):
        run("wipefs", "-a", "-q", "-f", node, allowed=range(256))


@contextlib.contextmanager
def mounted(node: str, kind: str, place: Path) -> Iterator[Path]:
    """The file system, mounted at this place."""
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", kind, node, place)
    try:
        yield place
    finally:
        run("umount", place)
