"""Packs files into the archive that a kernel takes as its initial RAM disk ("newc" cpio), the same bytes every time."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace

MAGIC = b"070701"
TRAILER = "TRAILER!!!"


@dataclass(frozen=True, order=True)
class Entry:
    """A file, folder, link or device node of the archive."""

    path: str
    """Without a leading slash."""
    mode: int
    """Type and permissions as in ``st_mode``."""
    content: bytes = b""
    """Of a file, or the target of a link."""
    device: tuple[int, int] = (0, 0)


def file(path: str, content: bytes, *, executable: bool = False) -> Entry:
    """A plain file."""
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), content)


def link(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def folder(path: str, permissions: int = 0o755) -> Entry:
    """A folder; those that files need are made without being asked for."""
    return Entry(path, stat.S_IFDIR | permissions)


def device(path: str, major: int, minor: int) -> Entry:
    """A character device node."""
    return Entry(path, stat.S_IFCHR | 0o600, device=(major, minor))


def pack(entries: Iterable[Entry], *, epoch_seconds: int) -> bytes:
    """The archive: sorted, parents first, all owned by root, with one time stamp."""
    chosen = {entry.path: entry for entry in entries}
    for path in list(chosen):
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            chosen.setdefault(parent, folder(parent))
    ordered = [chosen[path] for path in sorted(chosen)]
    return _ended(_records(ordered, first_inode=1, epoch_seconds=epoch_seconds))


def extend(archive: bytes, entries: Iterable[Entry], *, epoch_seconds: int) -> bytes:
    """The archive with more at its end, in folders that it has already."""
    ground = archive[: archive.rindex(END_MARK)]
    more = _records(entries, first_inode=len(names(archive)) + 1, epoch_seconds=epoch_seconds)
    return _ended(ground + more)


def names(archive: bytes) -> tuple[str, ...]:
    """Paths in an archive, in order."""
    found: list[str] = []
    position = 0
    while archive[position : position + 6] == MAGIC:
        size = int(archive[position + 54 : position + 62], 16)
        name_size = int(archive[position + 94 : position + 102], 16)
        name = archive[position + 110 : position + 110 + name_size - 1].decode()
        if name == TRAILER:
            break
        found.append(name)
        body = position + _aligned(110 + name_size)
        position = body + _aligned(size)
    return tuple(found)


def _records(entries: Iterable[Entry], *, first_inode: int, epoch_seconds: int) -> bytes:
    numbered = enumerate(entries, start=first_inode)
    return b"".join(_record(entry, inode=number, epoch_seconds=epoch_seconds) for number, entry in numbered)


def _ended(records: bytes) -> bytes:
    archive = records + END_MARK
    return archive + b"\0" * (-len(archive) % 512)


def _aligned(size: int) -> int:
    return size + -size % 4


def _record(entry: Entry, *, inode: int, epoch_seconds: int) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    major, minor = entry.device
    numbers = (inode, entry.mode, 0, 0, links, epoch_seconds, len(entry.content), 0, 0, major, minor, len(name), 0)
    head = MAGIC + b"".join(b"%08X" % number for number in numbers) + name
    return head + b"\0" * (-len(head) % 4) + entry.content + b"\0" * (-len(entry.content) % 4)


END_MARK = _record(replace(folder(TRAILER), mode=0), inode=0, epoch_seconds=0)
