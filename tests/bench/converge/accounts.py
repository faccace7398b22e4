"""Processor time of both sides of the race: one control group for the tool that runs, one for the endpoints."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from infra.lab.cgroups import hierarchies
from pachon.errors import MissingError

PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Account:
    """A control group; without a folder nothing is accounted, because this user may not."""

    folder: Path | None

    def join(self) -> None:
        """Put this process, and what it will start, into the group."""
        if self.folder is not None:
            (self.folder / "cgroup.procs").write_text("0")

    def seconds(self) -> float | None:
        """Of processor time so far."""
        if self.folder is None:
            return None
        used = self.folder / "cpuacct.usage"
        if used.exists():
            return int(used.read_text()) / 1e9
        told = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(told["usage_usec"]) / 1e6


def opened(name: str) -> Account:
    """A new group of that name, where this machine lets us make one."""
    try:
        found = hierarchies()
    except MissingError:
        return Account(None)
    points = [found.membership, *found.others]
    fit = [point for point in points if (point / "cpuacct.usage").exists()] or [found.membership]
    folder = fit[0] / f"pachon-bench-{os.getpid()}-{name}"
    try:
        folder.mkdir()
    except OSError:
        return Account(None)
    return Account(folder)


def closed(account: Account) -> None:
    """Take the group away; its processes were ended, and the kernel may still be at the last of them."""
    until = time.monotonic() + PATIENCE_SECONDS
    while account.folder is not None and account.folder.exists():
        try:
            account.folder.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
