"""Observes this machine for ``pachon doctor``; tries kernel features only inside namespaces that end with the try."""

import contextlib
import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.toolchain import children, debian, programs, virtualenv
from pachon import places
from pachon.doctor import Facts, FeatureFact, PackageFact, ProgramFact
from pachon.errors import PachonError

ASKED = ("infra.lab.instance", "infra.image.bake")
"""Modules that know themselves what they need of the machine: each has a function ``missing``."""
TRY_TIMEOUT = timedelta(seconds=20)
TRIES: dict[str, tuple[str, ...]] = {
    "namespaces": ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "true"),
    "veth pairs": ("unshare", "--net", "ip", "link", "add", "try0", "type", "veth", "peer", "name", "try1"),
    "bridges": ("unshare", "--net", "ip", "link", "add", "try0", "type", "bridge"),
    "tap devices": ("unshare", "--net", "ip", "tuntap", "add", "dev", "try0", "mode", "tap"),
    "packet filter rules": ("unshare", "--net", "nft", "add", "table", "inet", "try"),
}
"""Kernel features, each with a command that works only where root can use the feature, and leaves nothing behind."""


def observe() -> Facts:
    """The facts of this machine now."""
    cache = places.cache().absolute()
    root = os.geteuid() == 0
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return Facts(
        python=tuple(sys.version_info[:3]),
        root=root,
        apt=shutil.which("apt-get") is not None,
        virtualenv=virtualenv.condition(places.CHECKOUT),
        programs=tuple(_program(program, cache) for program in programs.table().values() if not program.on_demand),
        packages_absent=tuple(
            PackageFact(name=package.name, absent=package.absent, purpose=package.purpose)
            for package in debian.wanted()
            if package.absent
        ),
        features=tuple(_features()) if root else (),
        inotify_instances=_inotify_instances(),
        cache_path=str(cache),
        cache_bytes=_size_bytes(cache),
        disk_free_bytes=shutil.disk_usage(there).free,
        memory_available_bytes=_memory_available_bytes(),
        now=datetime.now(UTC),
        lab_lacks=_lab_lacks() if root else (),
    )


def _program(program: programs.Program, cache: Path) -> ProgramFact:
    found = programs.look(program, cache=cache)
    return ProgramFact(
        name=program.name,
        needed_version=program.version,
        found=f"{found.version} at {found.path}" if found else "",
    )


def _features() -> list[FeatureFact]:
    facts = [FeatureFact(name=name, lack=_try(argv)) for name, argv in TRIES.items()]
    looks: dict[str, Callable[[], str]] = {
        "loop devices": lambda: _openable(Path("/dev/loop-control")),
        "overlay file systems": lambda: _file_system("overlay"),
        "btrfs": lambda: _file_system("btrfs"),
        "xfs": lambda: _file_system("xfs"),
        "packet sockets": _packet_socket,
        "control groups": _control_groups,
    }
    return facts + [FeatureFact(name=name, lack=look()) for name, look in looks.items()]


def _try(argv: tuple[str, ...]) -> str:
    try:
        output = children.run(
            argv, timeout=TRY_TIMEOUT, environment=children.variables(PATH=debian.search_path()), check=False
        )
    except PachonError as error:
        return error.message
    return "" if output.status == 0 else (output.stderr.strip().splitlines() or [f"status {output.status}"])[-1]


def _openable(path: Path) -> str:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def _file_system(name: str) -> str:
    if name in Path("/proc/filesystems").read_text(encoding="ascii").split():
        return ""
    return _try(("modprobe", "--dry-run", name))


def _packet_socket() -> str:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return str(error.strerror)
    return ""


def _control_groups() -> str:
    root = Path("/sys/fs/cgroup")
    if not root.is_dir() or not any(root.iterdir()):
        return "no control groups are mounted at /sys/fs/cgroup"
    hierarchy = root if (root / "cgroup.controllers").exists() else root / "systemd"
    if not hierarchy.is_dir():
        hierarchy = next((folder for folder in sorted(root.iterdir()) if folder.is_dir()), root)
    return "" if os.access(hierarchy, os.W_OK) else f"{hierarchy} cannot be written"


def _inotify_instances() -> int:
    path = Path("/proc/sys/fs/inotify/max_user_instances")
    return int(path.read_text(encoding="ascii")) if path.exists() else 0


def _memory_available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def _size_bytes(folder: Path) -> int:
    """What the folder takes on disk; a file that two names share counts once."""
    seen: set[tuple[int, int]] = set()
    total, folders = 0, [str(folder)]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                continue
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total


def _lab_lacks() -> tuple[str, ...]:
    """What the lab and the baking of its images say that they lack here."""
    lacks = [lack for name in ASKED for lack in importlib.import_module(name).missing()]
    return tuple(dict.fromkeys(lacks))
