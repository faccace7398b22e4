"""The race itself, in namespaces of its own (processes, network, mounts, users): all of it ends with this process.

First step (``prepare``), as the owner of the namespaces: loopback, the account of automation, a ``/srv`` for what the
role leaves, and the role in the place of the product's own. Second step (``race``), as that account: everything else.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from pachon.model.base import Frozen
from pachon.places import CHECKOUT
from tests.bench.converge import contestants, endpoints
from tests.bench.converge.accounts import Account
from tests.bench.converge.contestants import HERE, OURS, ROLE, Contestant
from tests.bench.converge.endpoints import Endpoints

ACCOUNT = 2222
TENTH = 5
STRAY = "jobs = 9000\n"
SRV = Path("/srv")
FILES = ("settings.conf", "tool")
Kind = Literal["nothing to change", "10 % changed", "nothing to change, served", "10 % changed, served"]
"""Served: while 'pachon serve' runs, which the others have no like of."""


class Order(Frozen):
    """What the bench asks for."""

    scratch: Path
    pyinfra: Path
    tool_account: Path | None
    endpoints_account: Path | None
    rounds: int
    tools: tuple[str, ...]
    """That race beside ours."""


class Run(Frozen):
    """One run of one tool."""

    tool: str
    kind: Kind
    round: int
    wall_seconds: float
    tool_cpu_seconds: float | None
    endpoints_cpu_seconds: float | None
    load: float
    """Of the machine in the minute before."""


class LostError(Exception):
    """A tool did not do what it was to do: the race counts for nothing."""


RUNS: TypeAdapter[list[Run]] = TypeAdapter(list[Run])


def prepare(order_file: Path) -> None:
    """Make the place, then become the account."""
    order = Order.model_validate_json(order_file.read_text())
    own = order.scratch
    roles = CHECKOUT / "playbooks" / "roles"
    others = [f"roles/{path.name}" for path in roles.iterdir() if path.is_dir()]  # the catalogue names them
    for folder in ("home", "srv", *others):
        (own / folder).mkdir(parents=True)
    (own / "passwd").write_text(
        f"root:x:0:0:root:/root:/bin/sh\npachon:x:{ACCOUNT}:{ACCOUNT}:pachon:{own / 'home'}:/bin/sh\n"
    )
    (own / "group").write_text(f"root:x:0:\npachon:x:{ACCOUNT}:\n")
    _run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    _run("mount", "--bind", str(HERE / "role"), str(own / "roles" / ROLE))
    for source, target in (
        (own / "passwd", Path("/etc/passwd")),
        (own / "group", Path("/etc/group")),
        (own / "srv", SRV),
        (own / "roles", roles),
    ):
        _run("mount", "--rbind", str(source), str(target))
    os.environ["HOME"] = str(own / "home")
    account = ("unshare", "--user", f"--map-user={ACCOUNT}", f"--map-group={ACCOUNT}", "--")
    argv = [*account, sys.executable, "-m", "tests.bench.converge.inside", "race", str(order_file)]
    os.execvp(argv[0], argv)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=30)


def race(order: Order) -> list[Run]:
    """All runs, the tools in turn.

    Raises:
        LostError: a tool failed, changed what was right, or left what was wrong.
    """
    hosts = endpoints.made(order.scratch)
    served, used = Account(order.endpoints_account), Account(order.tool_account)
    every = contestants.all_of_them(hosts, order.scratch, order.pyinfra)
    tools = [tool for tool in every if tool.name in (*order.tools, OURS)]
    course = Course(hosts, order.scratch, served, used)
    with endpoints.running(hosts, order.scratch, join=served.join):
        ours = next(tool for tool in tools if tool.name == OURS)
        course.warm_up(ours)  # the role is played on all hosts, and recorded
        course.right = seen(hosts)
        for tool in tools:
            course.warm_up(tool)  # whatever a tool keeps on hosts from its first run on, is there
            course.demand(tool)
        for number in range(1, order.rounds + 1):
            for tool in tools:
                course.run(tool, "nothing to change", number, 0)
        for number in range(1, order.rounds + 1):
            for tool in tools:
                course.run(tool, "10 % changed", number, TENTH)
        with contestants.serving(hosts, ours, join=used.join):
            for number in range(1, order.rounds + 1):
                course.run(ours, "nothing to change, served", number, 0)
            course.run(ours, "10 % changed, served", 1, TENTH)
    return course.runs


class Course:
    """Where tools run, with what is measured and required of each run."""

    def __init__(self, hosts: Endpoints, scratch: Path, served: Account, used: Account) -> None:
        self.hosts = hosts
        self.runs: list[Run] = []
        self.right: dict[str, str] = {}
        self._scratch = scratch
        self._served = served
        self._used = used
        self._chance = random.Random(20)

    def run(self, tool: Contestant, kind: Kind, number: int, changed: int) -> None:
        """One run with so many hosts changed before it."""
        names = self._chance.sample(sorted(self.hosts.addresses), changed)
        paths = [SRV / self.hosts.full_name(name) / self._chance.choice(FILES) for name in names]
        before = touched(self.hosts)
        for path in paths:
            with path.open("a") as file:
                file.write(STRAY)
        load = os.getloadavg()[0]
        served, used = self._served.seconds(), self._used.seconds()
        wall = self.call(tool)
        self.demand(tool)
        after = touched(self.hosts)
        strange = {path for path, mark in after.items() if mark != before[path]} - {str(path) for path in paths}
        if strange:
            raise LostError(f"{tool.name} wrote to {sorted(strange)}, which was as it should be")
        self.runs.append(
            Run(
                tool=tool.name,
                kind=kind,
                round=number,
                wall_seconds=round(wall, 3),
                tool_cpu_seconds=_since(used, self._used),
                endpoints_cpu_seconds=_since(served, self._served),
                load=round(load, 2),
            )
        )
        sys.stderr.write(f"{tool.name}: {kind}, {number}: {wall:.2f} s\n")
        tool.cool_down()

    def warm_up(self, tool: Contestant) -> None:
        """A run that is not counted."""
        sys.stderr.write(f"{tool.name}: first, {self.call(tool):.2f} s\n")
        tool.cool_down()

    def call(self, tool: Contestant) -> float:
        """Seconds that a new process of the tool took."""
        path = self._scratch / f"{tool.name}.log"
        with path.open("w") as log:
            began = time.monotonic()
            process = subprocess.Popen(
                tool.argv,
                cwd=CHECKOUT,
                env=tool.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._used.join,  # noqa: PLW1509  # no thread has been started
            )
            try:
                status = process.wait(contestants.LIMIT_SECONDS)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            wall = time.monotonic() - began
        if status != 0:
            raise LostError(f"{tool.name} ended with status {status}:\n{path.read_text()[-4000:]}")
        return wall

    def demand(self, tool: Contestant) -> None:
        """Require that all is as the role says."""
        found = seen(self.hosts)
        if wrong := sorted(
            path for path in found.keys() | self.right.keys() if found.get(path) != self.right.get(path)
        ):
            raise LostError(f"{tool.name} did not put right {wrong}")


def _since(before: float | None, account: Account) -> float | None:
    now = account.seconds()
    return None if before is None or now is None else round(now - before, 3)


def _paths(hosts: Endpoints) -> Iterable[Path]:
    for name in hosts.addresses:
        folder = SRV / hosts.full_name(name)
        yield folder
        yield from sorted(folder.iterdir())


def seen(hosts: Endpoints) -> dict[str, str]:
    """What there is of the role, by path."""
    told = {}
    for path in _paths(hosts):
        found = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        told[str(path)] = f"{found.st_mode:o} {content}"
    return told


def touched(hosts: Endpoints) -> dict[str, tuple[int, int]]:
    """What moves when a file is written, though it be with the same content; not of folders, which files move."""
    return {
        str(path): (found.st_ino, found.st_mtime_ns)
        for path in _paths(hosts)
        if not path.is_dir() and (found := path.lstat())
    }


def main() -> None:
    """Do the step that is named."""
    step, order_file = sys.argv[1], Path(sys.argv[2])
    if step == "prepare":
        prepare(order_file)
    order = Order.model_validate_json(order_file.read_text())
    try:
        runs = race(order)
    except LostError as lost:
        raise SystemExit(str(lost)) from lost
    (order.scratch / "runs.json").write_bytes(RUNS.dump_json(runs))


if __name__ == "__main__":
    main()
