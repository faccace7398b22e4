"""Names every boundary that a run crosses, and ends this process by SIGKILL at one of them.

A name is ``<scene>/<address>/<what>/<when>``; one that comes again gets ``#2``, ``#3``. Names hold no time and no
random number, so the same run crosses the same ones whatever the machine does beside it.
"""

import contextlib
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.provider import family, folder
from pachon import sealing
from pachon.store import journal as journals
from pachon.store.database import Store

WHERE: ContextVar[str] = ContextVar("WHERE", default="")
"""What the provider is at: ``<address>/<verb>``."""
JOBS = threading.local()
"""Names of the jobs that the journal's thread is about to commit."""
NOT_NAMED = ("contextlib.py", "faults/boundaries.py")
LEDGER = "ledger"
"""File of the world with a line for each effect that may not be doubled."""


@dataclass
class Boundaries:
    """Those of one process: kept in a file, or counted until one is reached."""

    scene: str
    target: str = ""
    listed: Path | None = None
    seen: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    strike: Callable[[str], None] = lambda name: os.kill(os.getpid(), signal.SIGKILL)
    """What is done at the target."""

    def __call__(self, name: str) -> None:
        """Cross one."""
        with self.lock:
            self.seen[name] += 1
            number = self.seen[name]
            whole = f"{self.scene}/{name}" + (f"#{number}" if number > 1 else "")
            if self.listed is not None:
                with self.listed.open("a") as file:
                    file.write(whole + "\n")
        if whole == self.target:
            self.strike(whole)


CROSS: list[Boundaries] = []
"""The one of this process, if it has any."""


def cross(name: str) -> None:
    """Cross the boundary of that name, if this process has boundaries."""
    for boundaries in CROSS:
        boundaries(name)


def begin(boundaries: Boundaries) -> None:
    """Have this process, which does nothing else afterwards, cross boundaries wherever it commits, calls or plays."""
    CROSS.append(boundaries)
    _provider()
    _world()
    _journal()
    _store()
    _plans()


def _provider() -> None:
    """Calls of the provider, and under which one everything else happens."""
    for verb in ("create", "update", "delete"):
        _wrap_call(verb)


def _wrap_call(verb: str) -> None:
    real = getattr(family, verb)

    async def call(context: Any, kind: Any, *inputs: Any) -> Any:
        where = f"{inputs[-1]['address']}/{verb}"
        token = WHERE.set(where)
        try:
            cross(f"{where}/begin")
            answer = await real(context, kind, *inputs)
            cross(f"{where}/end")
            return answer
        finally:
            WHERE.reset(token)

    setattr(family, verb, call)


def _world() -> None:
    """Calls to BMCs, boot service and hosts: before and after each, and after each change of a file."""
    for name in ("inspect", "set_asset_tag", "start", "stop", "deploy_of", "order", "boot_deploy", "until_deployed"):
        _wrap_world(name)
    for name in ("revoke", "stamp_on_disk", "run_program"):
        _wrap_world(name)
    real = folder._write

    def write(path: Path, document: dict[str, Any]) -> None:
        real(path, document)
        if WHERE.get():
            cross(f"{WHERE.get()}/file-{path.stem}/after-effect")

    folder._write = write


def _wrap_world(name: str) -> None:
    real = getattr(folder.FolderWorld, name)

    async def call(self: Any, place: Any, *rest: Any, **named: Any) -> Any:
        if not WHERE.get():
            return await real(self, place, *rest, **named)
        what = f"{WHERE.get()}/{name.replace('_', '-')}"
        told = [str(each) for each in rest if isinstance(each, str)]
        what += "-" + told[0] if name == "run_program" else ""
        cross(f"{what}/before-call")
        answer = await real(self, place, *rest, **named)
        if name in ("boot_deploy", "stop"):
            with (self._folder / LEDGER).open("a") as file:
                file.write(f"{name} {place.serial}\n")
        cross(f"{what}/after-call")
        return answer

    setattr(folder.FolderWorld, name, call)


def _journal() -> None:
    """Commits of the journal, each job by its own name though many share a transaction."""
    real_write, real_answers = journals.Journal.write, journals.Journal._answers

    async def write(self: Any, work: Any) -> Any:
        return await real_write(self, _Named(work, f"{WHERE.get()}/{_words(work)}"))

    def answers(self: Any, jobs: list[Any]) -> list[Any]:
        JOBS.names = [job.work for job in jobs]
        try:
            return real_answers(self, jobs)
        finally:
            JOBS.names = None

    journals.Journal.write = write  # type: ignore[method-assign]  # this process is about boundaries only
    journals.Journal._answers = answers  # type: ignore[method-assign]  # see above


@dataclass
class _Named:
    work: Callable[[Any], Any]
    name: str
    wrote: bool = False

    def __call__(self, connection: Any) -> Any:
        before = _changes(connection)
        answer = self.work(connection)
        self.wrote = _changes(connection) > before
        return answer


def _words(work: Any) -> str:
    known = {"Journal.intend": "intent", "Journal.finish": "receipt", "_moved": "life", "_enrol": "enrolment"}
    name = str(work.__qualname__).split(".<locals>")[0]
    return known.get(name, name.strip("_"))


def _changes(connection: Any) -> int:
    return int(connection.connection.dbapi_connection.total_changes)


def _store() -> None:
    """All commits that change something."""
    real = Store.transaction

    @contextlib.contextmanager
    def transaction(self: Store) -> Iterator[Any]:
        named: list[str] = []
        with real(self) as connection:
            before = _changes(connection)
            yield connection
            jobs = getattr(JOBS, "names", None)
            if _changes(connection) > before:
                named = _caller() if jobs is None else [job.name for job in jobs if job.wrote]
            for name in named:
                cross(f"{name}/before-commit")
        for name in named:
            cross(f"{name}/after-commit")

    Store.transaction = transaction  # type: ignore[method-assign]  # see above


def _caller() -> list[str]:
    """Names for a commit: the function of the store that makes it, with the hosts or the address that it is about."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if not path.endswith(NOT_NAMED) and not name.startswith("_"):
            break
        frame = frame.f_back
    found = frame.f_locals
    what = name.replace("_", "-")
    if name in ("intend", "prove"):
        addresses = found["addresses"] if name == "intend" else found["digests"]
        return sorted({f"{address.partition('/role/')[0]}/roles/{what}" for address in addresses})
    if isinstance(about := found.get("address"), str):
        return [f"{about}/{what}"]
    return [f"store/{what}"]


def _plans() -> None:
    """The plan's own files."""
    for name in ("keep", "begin"):
        _wrap_plan(name)


def _wrap_plan(name: str) -> None:
    real = getattr(sealing, name)

    def call(*given: Any) -> Any:
        cross(f"plan/{name}/before")
        answer = real(*given)
        cross(f"plan/{name}/after")
        return answer

    from pachon import apply

    setattr(apply, name, call)
