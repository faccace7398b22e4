"""Reads a GUID partition table, as a machine's firmware does. Pure: bytes in, partitions out."""

import struct
import uuid
import zlib
from dataclasses import dataclass

SECTOR_BYTES = 512
ROOT_TYPE = uuid.UUID("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709")
"""Root partition of an x86-64 system (Discoverable Partitions Specification)."""
TABLE_BYTES = 34 * SECTOR_BYTES
"""How much of the disk has to be read."""


@dataclass(frozen=True)
class Partition:
    """A partition in use."""

    number: int
    kind: uuid.UUID
    first_sector: int
    last_sector: int


def read(start: bytes) -> tuple[Partition, ...]:
    """The partitions named at the start of a disk; none if there is no sound table."""
    header = start[SECTOR_BYTES : 2 * SECTOR_BYTES]
    if len(header) < SECTOR_BYTES or header[:8] != b"EFI PART":
        return ()
    header_bytes, checksum = struct.unpack_from("<II", header, 12)
    if not 92 <= header_bytes <= SECTOR_BYTES:
        return ()
    if zlib.crc32(header[:16] + bytes(4) + header[20:header_bytes]) != checksum:
        return ()
    entries_at, count, entry_bytes = struct.unpack_from("<QII", header, 72)
    found: list[Partition] = []
    for index in range(min(count, 128)):
        offset = entries_at * SECTOR_BYTES + index * entry_bytes
        entry = start[offset : offset + entry_bytes]
        if len(entry) < 48 or entry[:16] == bytes(16):
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        found.append(Partition(index + 1, uuid.UUID(bytes_le=entry[:16]), first, last))
    return tuple(found)


def node_name(disk: str, number: int) -> str:
    """What Linux calls a partition of the disk: sda1, but nvme0n1p1."""
    return f"{disk}p{number}" if disk[-1:].isdigit() else f"{disk}{number}"
