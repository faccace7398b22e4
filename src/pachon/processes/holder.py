"""Who holds a lease: a process, told apart from every other that ever had or will have its number."""

import contextlib
import getpass
import os
import socket
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Holder(BaseModel):
    """A process on a machine in one of its boots."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    machine: str
    """Host name of the controller."""
    boot_id: str
    pid_namespace: str
    """Process numbers mean nothing in another one (a container)."""
    pid: int
    started_ticks: int
    """Start of the process in clock ticks after the boot."""
    machine_id: str = ""
    """What tells two machines of one name apart; empty in records of before it was kept."""

    @property
    def process(self) -> str:
        """The process as one word, like no other's."""
        return f"{self.boot_id[:13]}:{self.pid}:{self.started_ticks}"

    def __str__(self) -> str:
        return f"{self.user}@{self.machine} (process {self.pid})"


def this_process() -> Holder:
    """The calling process."""
    return Holder(
        user=getpass.getuser(),
        machine=socket.gethostname(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        started_ticks=started_ticks(os.getpid()) or 0,
        machine_id=_machine_id(),
    )


def started_ticks(pid: int) -> int | None:
    """When that process started, in ticks after the boot; None if there is none (or only its zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def is_visible(holder: Holder) -> bool:
    """Whether this machine can tell if the holder still runs: it ran here, in this boot or an earlier one.

    The boot tells, not the name: machines are renamed, and two may have one name.
    """
    if holder.boot_id == _boot_id():
        return holder.pid_namespace == _pid_namespace()
    return holder.machine == socket.gethostname() and holder.machine_id in ("", _machine_id())


def proven_dead(holder: Holder) -> bool:
    """Whether this machine can prove that the holder runs no more; False also when it cannot tell."""
    if not is_visible(holder):
        return False
    return holder.boot_id != _boot_id() or started_ticks(holder.pid) != holder.started_ticks


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@cache
def _machine_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/etc/machine-id").read_text().strip()
    return ""


@cache
def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())
