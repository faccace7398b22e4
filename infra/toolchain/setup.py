"""``make setup``: all that the project needs on this machine, stage by stage, done once and told as it goes.

Run as ``PYTHONPATH=src /usr/bin/python3 -m infra.toolchain.setup``, since it comes before ``.venv``.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.toolchain import debian, programs, virtualenv
from infra.toolchain.obtain import obtain
from pachon import places
from pachon.errors import ExitCode, PachonError
from pachon.progress import Event, Progress

TELL_SECONDS = 10.0
"""How often a line is written of something that moves on but has not ended."""


def teller(write: Callable[[str], object], clock: Callable[[], float]) -> Progress:
    """A progress that writes a line per stage with the time since now, and one now and again while a stage goes on."""
    began = clock()
    last: dict[str, tuple[float, str]] = {}

    def tell(event: Event) -> None:
        now = clock()
        kind = event.message.partition(":")[0]
        told_at, told_kind = last.get(event.address, (-TELL_SECONDS, ""))
        if event.state == "moving" and kind == told_kind and now - told_at < TELL_SECONDS:
            return
        last[event.address] = (now, kind)
        part = f" ({event.fraction:.0%})" if event.fraction is not None else ""
        mark = {"failed": "FAILED: ", "done": "done: ", "unchanged": "unchanged: "}.get(event.state, "")
        write(f"[{now - began:6.1f} s] {event.address}: {mark}{event.message}{part}\n")

    return tell


@dataclass(frozen=True)
class Outcome:
    """How one stage ended."""

    address: str
    state: Literal["done", "unchanged", "failed"]
    message: str


def set_up(checkout: Path, *, cache: Path, apt: bool, progress: Progress) -> tuple[Outcome, ...]:
    """How each stage ended; one that failed does not keep the others from being tried."""
    stages: dict[str, Callable[[], Outcome]] = {
        "debian packages": lambda: _debian_packages(apt=apt, progress=progress),
        ".venv": lambda: _virtualenv(checkout, cache=cache, progress=progress),
    }
    for program in programs.table().values():
        if not program.on_demand:
            stages[program.name] = functools.partial(_program, program, cache=cache, progress=progress)
    return _carried_out(stages, progress=progress)


def make_programs(names: Sequence[str], *, cache: Path, progress: Progress) -> tuple[Outcome, ...]:
    """How the making of each of these programs ended, whether set-up makes them or not."""
    known = programs.table()
    return _carried_out(
        {name: functools.partial(_program, known[name], cache=cache, progress=progress) for name in names},
        progress=progress,
    )


def _carried_out(stages: Mapping[str, Callable[[], Outcome]], *, progress: Progress) -> tuple[Outcome, ...]:
    outcomes = []
    for address, stage in stages.items():
        try:
            outcome = stage()
        except PachonError as error:
            outcome = Outcome(address, "failed", str(error))
        if outcome.state != "unchanged":
            progress(Event(stage="toolchain", address=address, state=outcome.state, message=outcome.message))
        outcomes.append(outcome)
    return tuple(outcomes)


def _debian_packages(*, apt: bool, progress: Progress) -> Outcome:
    address = "debian packages"
    missing = debian.missing(debian.wanted())
    if not missing:
        return Outcome(address, "unchanged", "all there")
    names = " ".join(package.name for package in missing)
    hindrance = debian.hindrance() if apt else "that was not wished for"
    if hindrance:
        message = f"not installed ({hindrance}): {names}; 'pachon doctor' says what does not work without"
        return Outcome(address, "unchanged", message)
    progress(Event(stage="toolchain", address=address, state="moving", message=f"installing {names}"))
    started = debian.install(missing, progress=progress)
    if started:
        services = ", ".join(f"{service.program} (process {service.pid})" for service in started)
        message = f"installed, but although that was forbidden, apt started {services}; stop what you do not want"
        return Outcome(address, "failed", message)
    return Outcome(address, "done", f"{len(missing)} installed, no service started")


def _virtualenv(checkout: Path, *, cache: Path, progress: Progress) -> Outcome:
    changed = virtualenv.ensure(checkout, cache=cache, progress=progress)
    return Outcome(".venv", "done" if changed else "unchanged", "as requirements.lock says")


def _program(program: programs.Program, *, cache: Path, progress: Progress) -> Outcome:
    found = obtain(program, cache=cache, progress=progress)
    match found.origin:
        case "path":
            return Outcome(program.name, "unchanged", f"{found.version} on PATH")
        case "cache":
            return Outcome(program.name, "unchanged", f"{found.version} in the cache")
        case "release":
            return Outcome(program.name, "done", f"{found.version}, the official release")
        case "modules":
            return Outcome(program.name, "done", f"{found.version}, built from Go modules")


def main(argv: list[str]) -> int:
    """The exit status of the command: 0 if all that can be done on this machine is done."""
    parser = argparse.ArgumentParser(prog="make setup", description="Set up what the project needs on this machine.")
    parser.add_argument("--no-apt", action="store_true", help="install no Debian packages, only name those missing")
    parser.add_argument(
        "program", nargs="*", choices=[[], *programs.table()], help="make these programs only, also those on demand"
    )
    arguments = parser.parse_args(argv)
    began = time.monotonic()

    def write(line: str) -> None:
        sys.stderr.write(line)
        sys.stderr.flush()

    cache, progress = places.cache().absolute(), teller(write, time.monotonic)
    if arguments.program:
        outcomes = make_programs(arguments.program, cache=cache, progress=progress)
    else:
        outcomes = set_up(places.CHECKOUT, cache=cache, apt=not arguments.no_apt, progress=progress)
    seconds = time.monotonic() - began
    failed = [outcome.address for outcome in outcomes if outcome.state == "failed"]
    if failed:
        write(f"toolchain: not complete ({', '.join(failed)}: see above), {seconds:.1f} s\n")
        return ExitCode.FAILED
    same = "; ".join(f"{outcome.address}: {outcome.message}" for outcome in outcomes if outcome.state == "unchanged")
    write(f"toolchain: ready in {seconds:.1f} s" + (f"; nothing to do for {same}\n" if same else "\n"))
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
