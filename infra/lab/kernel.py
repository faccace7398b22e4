"""The few system calls that the lab needs and Python 3.11 does not offer: namespaces, mounts, parent-death signal.

Sits below everything else of the lab, imports nothing of it, and knows no machine.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

NETNS_FOLDER = Path("/run/netns")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def private_mounts() -> None:
    """This process's mounts become its own: they vanish with it, and unmounts outside still reach it."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare mounts")
    mount("none", Path("/"), flags=MS_REC | MS_SLAVE)


def mount(source: str | Path, target: Path, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Change the file tree by a file system, a binding or a propagation; see the mount system call.

    Raises:
        OSError: the kernel refuses.
    """
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        f"mount {source} on {target}",
    )


def bind(source: Path, target: Path, *, recursive: bool = False) -> None:
    """Let the source be seen at the target too."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))


def unmount(target: Path, *, lazy: bool = False) -> None:
    """Take a mount away; ``lazy`` detaches it even when in use.

    Raises:
        OSError: the kernel refuses.
    """
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH if lazy else 0), f"unmount {target}")


def die_with_parent(wanted: bool) -> None:
    """Be killed when the parent dies, or not any more."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL if wanted else 0, 0, 0, 0), "prctl")


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Within the block this thread is in the network namespace of that name.

    Raises:
        OSError: there is no such namespace.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(NETNS_FOLDER / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(there, CLONE_NEWNET), f"enter namespace {namespace}")
        finally:
            os.close(there)
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "return from a namespace")
    finally:
        os.close(home)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below the folder in this mount namespace, innermost first."""
    prefix = os.fsencode(folder)
    found: list[Path] = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = line.split(b" ")[4]
        for code, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
            point = point.replace(code, byte)
        point = point.removesuffix(b"//deleted")
        if point == prefix or point.startswith(prefix + b"/"):
            found.append(Path(os.fsdecode(point)))
    return sorted(found, key=lambda path: len(path.parts), reverse=True)
