"""Takes a unified kernel image apart: the sections of a PE file, as its own stub would find them. Pure."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass


class NotAnImageError(ValueError):
    """The file is no unified kernel image."""


@dataclass(frozen=True)
class Uki:
    """What the lab's containers need of a unified kernel image."""

    initrd: memoryview
    command_line: str


def sections(image: memoryview) -> Mapping[str, memoryview]:
    """Sections of a PE file by name.

    Raises:
        NotAnImageError: it is no PE file, or it is cut off.
    """
    try:
        if bytes(image[:2]) != b"MZ":
            raise NotAnImageError("no PE file: it does not begin with MZ")
        (start,) = struct.unpack_from("<I", image, 0x3C)
        if bytes(image[start : start + 4]) != b"PE\0\0":
            raise NotAnImageError("no PE file: its header is missing")
        (count,) = struct.unpack_from("<H", image, start + 6)
        (optional_bytes,) = struct.unpack_from("<H", image, start + 20)
        found: dict[str, memoryview] = {}
        for index in range(count):
            at = start + 24 + optional_bytes + 40 * index
            name, virtual_bytes, _, raw_bytes, raw_at = struct.unpack_from("<8sIIII", image, at)
            size = min(virtual_bytes, raw_bytes) if virtual_bytes else raw_bytes
            if raw_at + size > len(image):
                raise NotAnImageError("the PE file is cut off")
            found[name.rstrip(b"\0").decode("ascii", "replace")] = image[raw_at : raw_at + size]
    except struct.error as error:
        raise NotAnImageError("the PE file is cut off") from error
    return found


def read(image: memoryview) -> Uki:
    """The parts of a unified kernel image.

    Raises:
        NotAnImageError: a section is missing, or it is no PE file.
    """
    found = sections(image)
    for name in (".linux", ".initrd"):
        if name not in found:
            raise NotAnImageError(f"no unified kernel image: section {name} is missing")
    line = bytes(found[".cmdline"]) if ".cmdline" in found else b""
    return Uki(initrd=found[".initrd"], command_line=line.split(b"\0")[0].decode(errors="replace").strip())
