"""What the machine consists of, as its kernel and firmware tell."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from .console import TroubleError

Facts = dict[str, Any]

VIRTIO_BYTES = 20
NO_DISKS = re.compile(r"^(loop|ram|zram|sr|fd|dm-|md|nbd)")


def read(path: str | Path) -> str:
    """Content of a small file without blanks around it, or nothing."""
    try:
        return Path(path).read_bytes().decode(errors="replace").strip("\0 \n\t")
    except OSError:
        return ""


def identity(name: str) -> str:
    """Serial or UUID from the firmware's tables (or from where a container is given them)."""
    return read(f"/run/host/dmi/{name}") or read(f"/sys/class/dmi/id/{name}")


def nics() -> list[Facts]:
    """Every Ethernet port: name and MAC."""
    found = []
    for path in sorted(Path("/sys/class/net").iterdir()):
        if path.name != "lo" and read(path / "type") == "1":
            found.append({"name": path.name, "mac": read(path / "address").lower()})
    return found


def serial_of(block: Path) -> str:
    """Serial of a disk from its folder in /sys/block."""
    for name in ("serial", "device/serial", "device/wwid", "wwid"):
        if text := read(block / name):
            return text
    with contextlib.suppress(OSError):
        return (block / "device/vpd_pg80").read_bytes()[4:].decode(errors="replace").strip("\0 ")
    return ""


def size_of(node: str) -> int:
    """Size of a block device in bytes, or 0 if it cannot be opened."""
    try:
        descriptor = os.open(node, os.O_RDONLY)
    except OSError:
        return 0
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def disks() -> list[Facts]:
    """Every disk: name, serial, size, device node."""
    found = {}
    by_id = Path("/dev/disk/by-id")
    for path in sorted(by_id.iterdir()) if by_id.is_dir() else ():
        if "-part" not in path.name and path.is_block_device():
            found[path.name] = {"name": path.resolve().name, "serial": path.name, "node": str(path)}
    for block in sorted(Path("/sys/block").iterdir()):
        node = Path("/dev") / block.name
        serial = serial_of(block)
        if not NO_DISKS.match(block.name) and node.exists() and serial not in found:
            found[serial or block.name] = {"name": block.name, "serial": serial, "node": str(node)}
    return [{**disk, "size_bytes": size_of(disk["node"])} for disk in found.values()]


def find_disk(serial: str, found: list[Facts]) -> str:
    """Device node of the disk with this serial (virtio shows its first twenty bytes only)."""
    for disk in found:
        seen = str(disk["serial"])
        if seen == serial or seen.endswith(f"_{serial}") or (len(seen) == VIRTIO_BYTES and serial.startswith(seen)):
            return str(disk["node"])
    names = ", ".join(f"{disk['name']} ({disk['serial'] or 'no serial'})" for disk in found) or "none"
    raise TroubleError(f"there is no disk with serial {serial}; found: {names}", "disk")


def inventory(found: list[Facts]) -> Facts:
    """What this machine consists of."""
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    return {
        "cpus": os.cpu_count() or 0,
        "memory_mib": int(memory.group(1)) // 1024 if memory else 0,
        "disks": [{key: disk[key] for key in ("name", "serial", "size_bytes")} for disk in found],
        "nics": nics(),
    }
