"""The deploy image made personal: its kernel command line carries server, token and pin of one machine.

The image is baked with a ``.cmdline`` section of spaces; only those bytes differ between machines. So one file (and,
for virtual media, one FAT file system around it) serves all, with a *patch* laid over it while it is sent.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pachon.drivers import program
from pachon.errors import PermanentError

CHUNK_BYTES = 256 * 1024
_BOOT_PATH = ("EFI", "EFI/BOOT")


@dataclass(frozen=True)
class Slot:
    """Where in a file the kernel command line stands."""

    path: Path
    offset: int
    size: int
    base: str
    """What was baked in; kept in front of what is added."""


def find_cmdline(uki: Path) -> Slot:
    """Place of the command line in a unified kernel image.

    Raises:
        PermanentError: the file is no such image.
    """
    with uki.open("rb") as file:
        head = file.read(4096)
        try:
            start = int.from_bytes(head[0x3C:0x40], "little")
            if head[:2] != b"MZ" or head[start : start + 4] != b"PE\0\0":
                raise ValueError("no PE file")
            count = int.from_bytes(head[start + 6 : start + 8], "little")
            table = start + 24 + int.from_bytes(head[start + 20 : start + 22], "little")
            for number in range(count):
                section = head[table + 40 * number : table + 40 * number + 40]
                if section[:8].rstrip(b"\0") == b".cmdline":
                    virtual, _, raw, offset = (int.from_bytes(section[at : at + 4], "little") for at in (8, 12, 16, 20))
                    size = min(virtual, raw)
                    file.seek(offset)
                    text = file.read(size).decode().rstrip("\0 \n")
                    return Slot(path=uki, offset=offset, size=size, base=text)
            raise ValueError("no .cmdline section")
        except (ValueError, IndexError) as error:
            raise PermanentError(
                f"{uki} is no unified kernel image with a command line: {error}", cure="bake the images again"
            ) from error


def patch(slot: Slot, words: str) -> bytes:
    """The bytes of the command line with these words added, exactly as long as before."""
    text = f"{slot.base} {words}".strip().encode()
    if len(text) >= slot.size:
        raise PermanentError(
            f"the kernel command line needs {len(text) + 1} bytes, the deploy image has room for {slot.size}",
            cure="bake the deploy image with a longer .cmdline section",
        )
    return text.ljust(slot.size - 1) + b"\0"


def chunks(slot: Slot, patched: bytes) -> Iterator[bytes]:
    """The file's content with the patch laid over it."""
    at = 0
    with slot.path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            first, last = max(at, slot.offset), min(at + len(data), slot.offset + slot.size)
            if first < last:
                replaced = patched[first - slot.offset : last - slot.offset]
                data = data[: first - at] + replaced + data[last - at :]
            yield data
            at += len(data)


async def disk_around(uki: Slot, path: Path) -> Slot:
    """A FAT file system that boots this image (kept at ``path``), and where the command line stands in it."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(descriptor)
        made = Path(name)
        limit = timedelta(minutes=2)
        try:
            size = uki.path.stat().st_size
            os.truncate(made, (size // (1 << 20) + 8) << 20)
            await program.run(["mkfs.vfat", "-n", "PACHON", "-S", "512", "-s", "8", name], timeout=limit)
            await program.run(["mmd", "-i", name, *(f"::/{folder}" for folder in _BOOT_PATH)], timeout=limit)
            await program.run(["mcopy", "-i", name, str(uki.path), "::/EFI/BOOT/BOOTX64.EFI"], timeout=limit)
            made.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                made.unlink()
    return _slot_in_disk(uki, path)


def _slot_in_disk(uki: Slot, path: Path) -> Slot:
    """The file lies in one piece in a fresh file system: find its first sector, add the offset, and make sure."""
    with uki.path.open("rb") as file:
        head = file.read(512)
        file.seek(uki.offset)
        wanted = file.read(uki.size)
    with path.open("rb") as disk:
        at = 0
        while sector := disk.read(512):
            if sector == head:
                disk.seek(at + uki.offset)
                if disk.read(uki.size) == wanted:
                    return Slot(path=path, offset=at + uki.offset, size=uki.size, base=uki.base)
                disk.seek(at + 512)
            at += 512
    raise PermanentError(f"{path} does not contain the deploy image", cure="remove it: it is made again")
