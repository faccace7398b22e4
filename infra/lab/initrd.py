"""Unpacks an initrd as the kernel does: any number of cpio archives (newc), each bare or compressed, one after another.

An unpacked tree is kept by digest: sixteen machines that boot the same deploy image unpack it once.
"""

import fcntl
import hashlib
import lzma
import os
import shutil
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

KEPT_TREES = 4

_HEADER_BYTES = 110


class DamagedError(ValueError):
    """The initrd cannot be read."""


def tree(initrd: memoryview, cache: Path) -> Path:
    """Folder with the initrd's content, unpacked now or earlier. Nobody may write to it.

    Raises:
        DamagedError: the initrd cannot be read.
    """
    digest = hashlib.sha256(initrd).hexdigest()
    ready = cache / digest
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.is_dir():
            for left in cache.glob(".unpack-*"):
                shutil.rmtree(left)
            partial = Path(tempfile.mkdtemp(dir=cache, prefix=".unpack-"))
            partial.chmod(0o755)
            try:
                for archive in archives(initrd):
                    extract(archive, partial)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            partial.rename(ready)
        os.utime(ready)
    return ready


def prune(cache: Path, *, keep: int = KEPT_TREES) -> None:
    """Remove all but the most recently used trees. Only for when no machine of any lab runs from one."""
    if not cache.is_dir():
        return
    found = sorted((path for path in cache.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in found[: max(0, len(found) - keep)]:
        shutil.rmtree(path, ignore_errors=True)


def archives(initrd: memoryview) -> Iterator[memoryview]:
    """The bare cpio archives in an initrd, in order.

    Raises:
        DamagedError: there is something else in it.
    """
    at = 0
    while True:
        while at < len(initrd) and initrd[at] == 0:
            at += 1
        if at >= len(initrd):
            return
        rest = initrd[at:]
        start = bytes(rest[:6])
        if start in (b"070701", b"070702"):
            yield rest
            at += _archive_bytes(rest)
        elif start[:2] == b"\x1f\x8b":
            gzip = zlib.decompressobj(wbits=31)
            yield from archives(memoryview(gzip.decompress(rest)))
            at = len(initrd) - len(gzip.unused_data)
        elif start == b"\xfd7zXZ\0":
            xz = lzma.LZMADecompressor()
            yield from archives(memoryview(xz.decompress(rest)))
            at = len(initrd) - len(xz.unused_data)
        elif start[:4] == b"\x28\xb5\x2f\xfd":
            done = subprocess.run(["zstd", "-dcq"], input=rest, capture_output=True, check=False)
            if done.returncode != 0:
                raise DamagedError(f"zstd cannot unpack the initrd: {done.stderr.decode(errors='replace').strip()}")
            yield from archives(memoryview(done.stdout))
            return
        else:
            raise DamagedError(f"unknown archive in the initrd, it begins with {start.hex()}")


class _Entry:
    """One header of a newc archive."""

    def __init__(self, archive: memoryview, at: int) -> None:
        header = bytes(archive[at : at + _HEADER_BYTES])
        if len(header) < _HEADER_BYTES or header[:6] not in (b"070701", b"070702"):
            raise DamagedError("the cpio archive is cut off")
        (self.inode, self.mode, self.uid, self.gid, self.links, self.mtime, size, *device, name_bytes, _) = (
            int(header[6 + 8 * index : 14 + 8 * index], 16) for index in range(13)
        )
        self.source = (device[0], device[1], self.inode)
        self.device = os.makedev(device[2], device[3])
        name_at = at + _HEADER_BYTES
        self.name = bytes(archive[name_at : name_at + name_bytes - 1]).decode(errors="surrogateescape")
        data_at = (name_at + name_bytes + 3) & ~3
        if data_at + size > len(archive):
            raise DamagedError("the cpio archive is cut off")
        self.data = archive[data_at : data_at + size]
        self.end = (data_at + size + 3) & ~3


def _entries(archive: memoryview) -> Iterator[_Entry]:
    at = 0
    while True:
        entry = _Entry(archive, at)
        yield entry
        if entry.name == "TRAILER!!!":
            return
        at = entry.end


def _archive_bytes(archive: memoryview) -> int:
    for entry in _entries(archive):
        end = entry.end
    return min(end, len(archive))


def extract(archive: memoryview, folder: Path) -> None:
    """Write one bare cpio archive below the folder, with owners, modes, links and device nodes.

    Raises:
        DamagedError: it is cut off, or a name leaves the folder.
    """
    linked: dict[tuple[int, int, int], Path] = {}
    times: list[tuple[Path, int]] = []
    for entry in _entries(archive):
        parts = [part for part in entry.name.split("/") if part not in ("", ".")]
        if entry.name == "TRAILER!!!" or not parts:
            continue
        if ".." in parts:
            raise DamagedError(f"the initrd names a file outside of it: {entry.name}")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = stat.S_IFMT(entry.mode)
        if kind == stat.S_IFDIR:
            path.mkdir(exist_ok=True)
            times.append((path, entry.mtime))
        else:
            path.unlink(missing_ok=True)
            if not _write(path, kind, entry, linked):
                continue
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            path.chmod(stat.S_IMODE(entry.mode))
            os.utime(path, (entry.mtime, entry.mtime))
    for path, mtime in reversed(times):
        os.utime(path, (mtime, mtime))


def _write(path: Path, kind: int, entry: _Entry, linked: dict[tuple[int, int, int], Path]) -> bool:
    """Whether the entry is a file of its own (and not one more name of another)."""
    match kind:
        case stat.S_IFLNK:
            path.symlink_to(bytes(entry.data).decode(errors="surrogateescape"))
        case stat.S_IFREG:
            first = linked.get(entry.source) if entry.links > 1 else None
            if first is not None:
                if len(entry.data):
                    first.write_bytes(entry.data)
                path.hardlink_to(first)
                return False
            path.write_bytes(entry.data)
            linked[entry.source] = path
        case _:
            os.mknod(path, entry.mode, entry.device)
    return True
