"""Joins stub, kernel, initial RAM disk and command line into a unified kernel image (a PE file), and reads one back.

The command line section of the deploy image keeps room at its end that the boot server fills for each machine:
``cmdline_range`` says where. Format: PE/COFF section table; sections by name as in systemd-stub(7).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.image import recipe
from infra.image.chamber import inside
from pachon.errors import PermanentError, UsageError

CMDLINE_BYTES = 1024
MARKER = b"pachon.args="
FIRST_ADDRESSES = {".osrel": 0x20000, ".cmdline": 0x30000, ".linux": 0x2000000}
ALIGNMENT = 0x100000


@dataclass(frozen=True)
class Section:
    """Where a part of the image lies in the file."""

    name: str
    offset: int
    size: int
    """Bytes of content; what follows up to the file alignment is padding."""


def command_line(fixed: str, *, room: bool) -> bytes:
    """The command line section: fixed words, and with ``room`` the marker and spaces up to ``CMDLINE_BYTES``."""
    if not room:
        return fixed.encode() + b"\0"
    head = fixed.encode() + b" " + MARKER
    return head.ljust(CMDLINE_BYTES - 1) + b"\0"


def build(parts: Mapping[str, Path], target: Path, *, stub: Path) -> None:
    """Write the image; ``parts`` are files by section name: .osrel, .cmdline, .linux, .initrd."""
    addresses = dict(FIRST_ADDRESSES)
    end = addresses[".linux"] + parts[".linux"].stat().st_size
    addresses[".initrd"] = max(0x3000000, end + -end % ALIGNMENT + ALIGNMENT)
    arguments: list[str | Path] = ["objcopy"]
    for name in (".osrel", ".cmdline", ".linux", ".initrd"):
        arguments += ["--add-section", f"{name}={parts[name]}", "--change-section-vma", f"{name}={addresses[name]:#x}"]
    inside([*arguments, stub, target])
    _settle(target)


def _settle(path: Path) -> None:
    """Replace the moment of linking by the recipe's, and the checksum over it by none (firmware does not look)."""
    with path.open("r+b") as stream:
        stream.seek(0x3C)
        (start,) = struct.unpack("<I", stream.read(4))
        stream.seek(start + 8)
        stream.write(struct.pack("<I", recipe.EPOCH_SECONDS))
        stream.seek(start + 24 + 64)
        stream.write(struct.pack("<I", 0))


def sections(path: Path) -> dict[str, Section]:
    """The sections of a PE file by name.

    Raises:
        PermanentError: it is not a PE file.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
    try:
        (start,) = struct.unpack_from("<I", head, 0x3C)
        if head[:2] != b"MZ" or head[start : start + 4] != b"PE\0\0":
            raise ValueError("no PE signature")
        (number,) = struct.unpack_from("<H", head, start + 6)
        (optional_size,) = struct.unpack_from("<H", head, start + 20)
        table = start + 24 + optional_size
        found = {}
        for index in range(number):
            name, virtual_size, _, raw_size, offset = struct.unpack_from("<8sIIII", head, table + 40 * index)
            label = name.rstrip(b"\0").decode("ascii")
            found[label] = Section(label, offset, min(virtual_size, raw_size) or raw_size)
    except (struct.error, ValueError) as error:
        raise PermanentError(f"{path} is not a unified kernel image: {error}", cure="bake it anew") from error
    return found


def cmdline_range(path: Path) -> tuple[int, int]:
    """(offset, size) of the bytes in the file that may be replaced by a machine's own arguments, padded by spaces."""
    section = sections(path).get(".cmdline")
    if section is None:
        raise PermanentError(f"{path} has no command line section", cure="bake it anew")
    with path.open("rb") as stream:
        stream.seek(section.offset)
        content = stream.read(section.size)
    position = content.find(MARKER)
    if position < 0:
        raise PermanentError(f"the command line of {path} has no room for arguments", cure="use the deploy image")
    begin = position + len(MARKER)
    return section.offset + begin, len(content.rstrip(b"\0")) - begin


def arguments(path: Path, words: str) -> tuple[int, bytes]:
    """(offset, bytes) to write over the image so that the kernel is given ``words`` as well.

    Raises:
        UsageError: they do not fit or are not printable ASCII.
    """
    offset, size = cmdline_range(path)
    if not words.isascii() or not words.isprintable() or len(words) + 1 > size:
        raise UsageError(f"{len(words)} characters of kernel arguments do not fit {size - 1}", cure="shorten them")
    return offset, (" " + words).encode().ljust(size)
