"""Drives: sparse files, attached to loop devices for the machine's life, with partitions made known on demand.

The kernel here has no partition parser: tables are read by ``partx``, and only while nobody holds a partition.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from infra.lab import gpt
from pachon.errors import PermanentError, TemporaryError

BUSY_SECONDS = 30.0

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CLR_FD = 0x4C01
_ATTACH_ATTEMPTS = 200
_DELETED = " (deleted)"
_SYS_BLOCK = Path("/sys/block")


@dataclass(frozen=True)
class Attached:
    """A loop device in use."""

    device: str
    file: str
    """Backing file, without the kernel's remark that it was deleted."""
    deleted: bool = False
    """Whether the file behind it was removed: what is there now under its name is another one, or nothing."""


def ensure_file(path: Path, size_bytes: int) -> None:
    """A sparse file of that size is there; one that is there is only ever enlarged."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(handle).st_size < size_bytes:
            os.ftruncate(handle, size_bytes)
    finally:
        os.close(handle)


def attached(folder: Path) -> list[Attached]:
    """Loop devices whose backing file lies, or lay, in the folder."""
    prefix = f"{folder}/"
    found: list[Attached] = []
    for backing in _SYS_BLOCK.glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            told = backing.read_text().rstrip("\n")
            file = told.removesuffix(_DELETED)
            if file.startswith(prefix):
                found.append(Attached(f"/dev/{backing.parts[-3]}", file, deleted=told != file))
    return found


def attach(file: Path) -> str:
    """The loop device that the file is now attached to.

    Raises:
        PermanentError: the kernel gives none.
    """
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTACH_ATTEMPTS):
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            finally:
                os.close(control)
            device = Path(f"/dev/loop{number}")
            if not device.exists():
                make_node(device, _SYS_BLOCK / device.name)
            handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(handle, _LOOP_CONFIGURE, struct.pack("=II56x64s176x", backing, 0, str(file).encode()[-63:]))
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                continue
            finally:
                os.close(handle)
            with contextlib.suppress(OSError):
                (_SYS_BLOCK / device.name / "queue" / "write_cache").write_text("write through")
            return str(device)
    except OSError as error:
        raise PermanentError(f"no loop device for {file}: {error}", cure="see 'losetup -a'") from error
    finally:
        os.close(backing)
    raise PermanentError(f"no free loop device for {file}", cure="see 'losetup -a'")


def detach(device: str) -> None:
    """Take the file off the loop device, partitions first. In use, it goes when its last user does."""
    forget_partitions(device)
    with contextlib.suppress(OSError):
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(handle, _LOOP_CLR_FD)
        finally:
            os.close(handle)


def known_partitions(device: str) -> dict[int, Path]:
    """Partitions that the kernel knows of, by number, each with its folder below /sys."""
    name = Path(device).name
    return {
        int(path.read_text()): path.parent for path in (_SYS_BLOCK / name).glob(f"{name}p*/partition") if path.exists()
    }


def forget_partitions(device: str) -> None:
    """The kernel forgets the partitions that nobody holds."""
    if known_partitions(device):
        subprocess.run(["partx", "-d", device], capture_output=True, check=False)


def wait_until_free(device: str) -> None:
    """Return when no partition of the device, nor the device, is held by anybody.

    Raises:
        TemporaryError: something holds it on. Booting now would destroy what is on the disk.
    """
    until = time.monotonic() + BUSY_SECONDS
    pause = 0.01
    while True:
        busy = [path for path in (*_nodes(device), device) if not _is_free(path)]
        if not busy:
            return
        if time.monotonic() > until:
            raise TemporaryError(f"{busy[0]} is still in use", cure="see who mounts it: grep loop /proc/*/mountinfo")
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


def _nodes(device: str) -> list[str]:
    return [f"/dev/{folder.name}" for folder in known_partitions(device).values()]


def _is_free(node: str) -> bool:
    try:
        os.close(os.open(node, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def read_table(file: str) -> tuple[gpt.Partition, ...]:
    """The partition table of a disk."""
    with Path(file).open("rb") as disk:
        return gpt.read(disk.read(gpt.TABLE_BYTES))


def know_partitions(device: str) -> dict[int, Path]:
    """The kernel reads the table afresh; its partitions by number, each with its folder below /sys."""
    forget_partitions(device)
    subprocess.run(["partx", "-a", device], capture_output=True, check=False)
    return known_partitions(device)


def make_node(path: Path, sys_folder: Path) -> None:
    """A device node for the block device described by that folder below /sys."""
    major, _, minor = (sys_folder / "dev").read_text().strip().partition(":")
    with contextlib.suppress(FileExistsError):
        os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(int(major), int(minor)))
