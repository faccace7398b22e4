"""Groups of processes by membership: what belongs to a lab, a machine or one power-on is known and killed exactly.

Hides whether the machine has cgroup v2, v1, or both. Membership counts in one hierarchy (v2 where there is one); in
the v1 hierarchies with controllers every machine has one group as well, so that no other owner's limits or kills
reach it and its use can be read.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pachon.errors import MissingError, PermanentError

ROOT = "pachon-lab"
_ACCOUNTED = {"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "name=systemd", "pids"}
"""Also those in which nothing is accounted: a guest that makes groups for its own processes, as Slurm does, makes them
below its machine's, and they are gone with it."""
_CPUSET = ("cpuset.cpus", "cpuset.mems")
_SHARES = 1024
"""What the kernel gives a group, and a process beside groups, of a busy processor."""
_LABS_SHARES = 4 * _SHARES
"""All labs together: otherwise twenty machines that boot get as much as one process of the controller does."""
_BMC_SHARES = 16 * _SHARES
"""A real BMC has a processor of its own; beside twenty machines that boot, ours is still to answer in time."""
_SETTLED_SHARES = _SHARES // 32
"""A machine that has booted, beside those that boot: for these all wait, most of all where a processor is emulated."""
_KILL_SECONDS = 20.0


@dataclass(frozen=True)
class Hierarchies:
    """Where the cgroup file systems are."""

    membership: Path
    others: tuple[Path, ...]


def read_hierarchies(mountinfo: str) -> Hierarchies | None:
    """The hierarchies named in a mountinfo text; None if it names none that can be used."""
    membership: Path | None = None
    fallback: Path | None = None
    others: list[Path] = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if len(fields) < 5 or len(tail) < 3 or "ro" in fields[5].split(","):
            continue
        point = Path(fields[4])
        if tail[0] == "cgroup2" and membership is None:
            membership = point
        elif tail[0] == "cgroup" and (kinds := _ACCOUNTED & set(tail[2].split(","))):
            others.append(point)
            if "pids" in kinds or fallback is None:
                fallback = point
    if membership is None:
        membership = fallback
    if membership is None:
        return None
    return Hierarchies(membership, tuple(sorted({path for path in others if path != membership})))


@cache
def hierarchies() -> Hierarchies:
    """The hierarchies of this machine.

    Raises:
        MissingError: it has none.
    """
    found = read_hierarchies(Path("/proc/self/mountinfo").read_text())
    if found is None:
        raise MissingError(
            "no writable cgroup file system is mounted",
            cure="mount -t cgroup2 none /sys/fs/cgroup (or run where cgroups are writable)",
        )
    return found


@dataclass(frozen=True)
class Group:
    """A group by its path below the lab's root, such as ``lab/SN1/power``."""

    path: str
    shares: int = _SHARES
    """Of the processors, when they are busy, beside other groups of the lab."""

    @property
    def folder(self) -> Path:
        """Its folder in the hierarchy of membership."""
        return hierarchies().membership / ROOT / self.path

    def _accounts(self) -> list[Path]:
        return [other / ROOT / "/".join(self.path.split("/")[:2]) for other in hierarchies().others]

    def join(self) -> None:
        """Put this process, and what it will start, into the group.

        Raises:
            PermanentError: the kernel refuses.
        """
        own = str(os.getpid())
        try:
            for folder in (*self._accounts(), self.folder):
                _make(folder)
                self._weigh(folder)
                (folder / "cgroup.procs").write_text(own)
        except OSError as error:
            raise PermanentError(
                f"cannot join the cgroup {self.path}: {error}", cure="run as root with writable cgroups"
            ) from error

    def _weigh(self, folder: Path) -> None:
        """Where processors are shared out by this hierarchy, see that nobody is starved."""
        labs = next(parent for parent in folder.parents if parent.name == ROOT)
        for group, shares in ((labs, _LABS_SHARES), (folder, self.shares)):
            if shares != _SHARES:
                _give(group, shares)

    def settle(self, *, settled: bool) -> None:
        """Let the machine of this group stand back behind those that boot, or be one of them again."""
        for folder in self._accounts():
            _give(folder, _SETTLED_SHARES if settled else _SHARES)

    def members(self) -> list[int]:
        """Processes in the group and the groups below it."""
        pids: list[int] = []
        for folder, _, _ in os.walk(self.folder):
            with contextlib.suppress(OSError):
                pids += [int(word) for word in (Path(folder) / "cgroup.procs").read_text().split()]
        return pids

    def populated(self) -> bool:
        """Whether anything is in it."""
        with contextlib.suppress(OSError):
            return "populated 1" in (self.folder / "cgroup.events").read_text()
        return bool(self.members())

    def kill(self) -> None:
        """End every process in it at once, and return when they are gone.

        Raises:
            PermanentError: something does not die.
        """
        until = time.monotonic() + _KILL_SECONDS
        pause = 0.002
        while self.populated():
            try:
                (self.folder / "cgroup.kill").write_text("1")
            except OSError:
                for pid in self.members():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise PermanentError(
                    f"processes {self.members()} of {self.path} do not die",
                    cure="they hang in the kernel: see 'dmesg', then try again",
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def remove(self) -> None:
        """Take the empty group, and those below it, out of every hierarchy; one still in use stays."""
        for top in (self.folder, *self._accounts()):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        for hierarchy in (hierarchies().membership, *hierarchies().others):
            with contextlib.suppress(OSError):
                (hierarchy / ROOT).rmdir()


def _give(folder: Path, shares: int) -> None:
    """These shares of the processors to the group, where this hierarchy shares them out."""
    path = folder / "cpu.shares"
    if path.exists():
        path.write_text(str(shares))


def _make(folder: Path) -> None:
    """Make the group and those above it; a group of v1 that has no processors of its own takes nobody in."""
    if not folder.parent.joinpath("cgroup.procs").exists():
        _make(folder.parent)
    folder.mkdir(exist_ok=True)
    for name in _CPUSET:
        path = folder / name
        if "cpuset" in folder.parts and path.exists() and not path.read_text().strip():
            path.write_text((folder.parent / name).read_text())


def lab(facility: str) -> Group:
    """Everything of a lab."""
    return Group(facility)


def bmc(facility: str, site: str) -> Group:
    """The BMC process of a site."""
    return Group(f"{facility}/bmc-{site}", shares=_BMC_SHARES)


def link(facility: str, name: str) -> Group:
    """The process of a link between sites."""
    return Group(f"{facility}/link-{name}")


def keeper(facility: str, serial: str) -> Group:
    """The process that keeps a machine running."""
    return Group(f"{facility}/{serial}/keeper")


def power(facility: str, serial: str) -> Group:
    """One power-on of a machine: all that dies when its plug is pulled."""
    return Group(f"{facility}/{serial}/power")


def machine(facility: str, serial: str) -> Group:
    """A machine and its keeper."""
    return Group(f"{facility}/{serial}")
