"""Debian packages from one list: installed by apt only where missing, and without starting a service on this machine.

The policy-rc.d that forbids starting, and the settings by which PostgreSQL makes no database of its own, are there only
while apt works; those left by a killed run are taken away by the next.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from infra.toolchain import children, locks
from pachon.errors import PermanentError
from pachon.progress import Event, Progress

LIST = Path(__file__).with_name("debian-packages.txt")
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
APT_TIMEOUT = timedelta(minutes=30)
MARK = "# pachon toolchain: only here while apt works"
Tell = Callable[[str], None]
POLICY = f"#!/bin/sh\n{MARK}\nexit 101\n"


@dataclass(frozen=True)
class Package:
    """A Debian package of the list."""

    name: str
    witnesses: tuple[str, ...]
    """Programs or absolute paths that show that it, or something as good, is there."""
    purpose: str

    @property
    def absent(self) -> tuple[str, ...]:
        """Those of its witnesses that are not there."""
        return tuple(witness for witness in self.witnesses if not _is_there(witness))


@dataclass(frozen=True)
class Places:
    """Where Debian keeps what we touch; another root in tests."""

    policy: Path = Path("/usr/sbin/policy-rc.d")
    clusters: Path = Path("/etc/postgresql-common/createcluster.d/pachon.conf")
    lists: Path = Path("/var/lib/apt/lists")
    lock: Path = Path("/run/lock/pachon-apt.lock")
    processes: Path = Path("/proc")


@dataclass(frozen=True)
class Started:
    """A process that runs a program of a package just installed: a service that should not be."""

    pid: int
    program: str


def wanted(path: Path = LIST) -> tuple[Package, ...]:
    """The packages of the list."""
    packages = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields, _, purpose = line.partition("#")
        if fields.strip():
            name, witnesses = fields.split()
            packages.append(Package(name, tuple(witnesses.split(",")), purpose.strip()))
    return tuple(packages)


def missing(packages: Sequence[Package]) -> tuple[Package, ...]:
    """The packages that this machine lacks: part of what they bring is not there, and dpkg does not have them."""
    suspects = tuple(package for package in packages if package.absent)
    installed = _installed() if suspects else frozenset()
    return tuple(package for package in suspects if package.name not in installed)


def _is_there(witness: str) -> bool:
    if witness.startswith("/"):
        return Path(witness).exists()
    return shutil.which(witness, path=search_path()) is not None


def hindrance() -> str:
    """Why packages cannot be installed here; empty if they can."""
    if not shutil.which("apt-get"):
        return "this machine has no apt"
    if os.geteuid() != 0:
        return "only root may install packages"
    return ""


def install(packages: Sequence[Package], *, progress: Progress, places: Places | None = None) -> tuple[Started, ...]:
    """The services that ran afterwards although they were forbidden to start (normally none); the packages are there.

    Raises:
        PermanentError, TemporaryError: apt could not install them.
    """
    places = places or Places()
    names = tuple(package.name for package in packages)

    def tell(message: str) -> None:
        progress(Event(stage="toolchain", address="debian packages", state="moving", message=message))

    with locks.held(places.lock, tell):
        before_packages, before_processes = _installed(), _processes(places.processes)
        with no_services(places.policy), no_clusters(places.clusters):
            _install(names, places, tell)
        new = _installed() - before_packages
        return _services_of(new, _processes(places.processes) - before_processes, places.processes)


def _install(names: Sequence[str], places: Places, tell: Tell) -> None:
    if not any(places.lists.glob("*_Packages*")):
        _apt("update", tell=tell)
    try:
        _apt("install", "--yes", "--no-install-recommends", *names, tell=tell)
    except PermanentError:
        tell("apt could not; once more with fresh lists")
        _apt("update", tell=tell)
        _apt("install", "--yes", "--no-install-recommends", *names, tell=tell)


@contextlib.contextmanager
def no_services(policy: Path) -> Iterator[None]:
    """Inside the block, no package may start a service. A policy that the machine has already is left as it is."""
    with contextlib.suppress(FileNotFoundError):
        if MARK in policy.read_text(encoding="utf-8", errors="replace"):
            policy.unlink()
    ours = not policy.exists()
    if ours:
        new = policy.with_name(f"{policy.name}.pachon-new")
        new.write_text(POLICY, encoding="utf-8")
        new.chmod(0o755)
        new.replace(policy)
    try:
        yield
    finally:
        if ours:
            policy.unlink(missing_ok=True)


@contextlib.contextmanager
def no_clusters(settings: Path) -> Iterator[None]:
    """Inside the block, PostgreSQL makes no cluster of its own, which would start with the machine from then on."""
    before = [folder for folder in (settings.parent, settings.parent.parent) if not folder.exists()]
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f"{MARK}\ncreate_main_cluster = false\n", encoding="utf-8")
    try:
        yield
    finally:
        settings.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the package's by now
            for folder in before:
                folder.rmdir()


def _apt(*arguments: str, tell: Tell) -> None:
    def on_line(line: str) -> None:
        if line.startswith(("Get:", "Unpacking ", "Setting up ")):
            tell(line)

    children.run(
        ("apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300", *arguments),
        timeout=APT_TIMEOUT,
        environment=children.variables(
            DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8", NEEDRESTART_SUSPEND="1", PATH=search_path()
        ),
        on_line=on_line,
    )


def search_path() -> str:
    """Our PATH and the system's own folders, which packages' scripts need and a person's PATH may lack."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))


def _installed() -> frozenset[str]:
    """The names of the packages that dpkg has installed; none where there is no dpkg."""
    if not shutil.which("dpkg-query"):
        return frozenset()
    said = children.run(
        ("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n"), timeout=timedelta(minutes=1)
    ).stdout
    rows = (line.split() for line in said.splitlines())
    return frozenset(row[1] for row in rows if row[0] == "installed")


def _processes(folder: Path) -> frozenset[tuple[int, str]]:
    """Every process there is, by id and start time, so that an id used again is another process."""
    found = set()
    for entry in folder.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                after_name = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                found.add((int(entry.name), after_name[19]))
    return frozenset(found)


def _services_of(packages: frozenset[str], processes: frozenset[tuple[int, str]], folder: Path) -> tuple[Started, ...]:
    """Those of the processes that run a program of one of the packages."""
    if not packages or not processes:
        return ()
    said = children.run(("dpkg-query", "--listfiles", *sorted(packages)), timeout=timedelta(minutes=1)).stdout
    programs = {os.path.realpath(line) for line in said.splitlines() if "bin/" in line or "/lib/" in line}
    started = []
    for pid, _ in sorted(processes):
        with contextlib.suppress(OSError):
            program = str((folder / str(pid) / "exe").readlink()).removesuffix(" (deleted)")
            if program in programs:
                started.append(Started(pid=pid, program=program))
    return tuple(started)
