"""A facility under test: its definition, a state folder of its own, and the real program run on it from outside.

Everything goes through ``pachon`` as a person or CI calls it, in a session of its own, so that it can be killed whole.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pachon.places import CHECKOUT

BIN = CHECKOUT / ".venv" / "bin"
PACHON = str(BIN / "pachon")
PATIENCE_SECONDS = 900.0
"""Until a command counts as hung."""

Told = dict[str, Any]
"""An event as the record of a run has it."""


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """Its answer in JSON."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass
class Rig:
    """A facility under test."""

    name: str
    top: Path
    """Folder of all that it has; short, since sockets lie below it."""
    settings: dict[str, str] = field(default_factory=dict)
    """Further environment of its commands."""

    @property
    def definition(self) -> Path:
        """Folder of the definition."""
        return self.top / "definition"

    @property
    def state(self) -> Path:
        """The facility's state folder."""
        return self.top / "s" / self.name

    @property
    def environment(self) -> dict[str, str]:
        """What its commands see."""
        own = {"PACHON_STATE": str(self.top / "s"), "PACHON_FACILITY": str(self.definition), "NO_COLOR": "1"}
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
        return {**os.environ, "PATH": path, **own, **self.settings}

    def pachon(self, *words: str, status: int | None = 0) -> Done:
        """What came of ``pachon`` with these words (any status if None is expected)."""
        return self.run([PACHON, *words], status=status)

    def ask(self, *words: str, status: int | None = 0) -> Any:
        """The JSON that ``pachon --json`` answers."""
        return self.pachon("--json", *words, status=status).value

    def run(self, argv: Sequence[str], *, status: int | None = 0) -> Done:
        """What came of a command in a session of its own."""
        process = self.start(argv)
        try:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        except BaseException:
            kill(process)
            raise
        done = Done(process.returncode, out, err)
        assert status is None or done.status == status, f"{' '.join(argv)} ended with {done}"
        return done

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """The command, running in a session of its own."""
        return subprocess.Popen(
            argv,
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def events(self) -> list[Told]:
        """All that runs have told so far."""
        return self._events_from(0)[0]

    def _events_from(self, place: int) -> tuple[list[Told], int]:
        """What runs told from that place of the record on, and where it ends; a line that is being written is not."""
        try:
            with (self.state / "events.jsonl").open("rb") as file:
                file.seek(place)
                lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
        except FileNotFoundError:
            lines = []
        return [json.loads(line) for line in lines], place + sum(map(len, lines))

    def start_until(self, point: Callable[[Told], bool], argv: Sequence[str]) -> subprocess.Popen[str]:
        """The command, which has just told an event of this kind and goes on.

        Raises:
            AssertionError: it ended without.
        """
        _, place = self._events_from(0)
        process = self.start(argv)
        while True:
            ended = process.poll() is not None  # before the look: what it told last is seen
            events, place = self._events_from(place)
            if any(point(event) for event in events):
                return process
            if ended:
                out, err = process.communicate()
                raise AssertionError(f"it ended and never came there: {Done(process.returncode, out, err)}")
            time.sleep(0.01)

    def kill_at(self, point: Callable[[Told], bool], *words: str, argv: Sequence[str] = ()) -> str:
        """Name of the run that was killed, with its whole process group, when it told of this point."""
        process = self.start_until(point, argv or [PACHON, "up", *words])
        kill(process)
        return str(self.events()[-1]["run"])

    def console(self, serial: str) -> str:
        """What a machine has said so far."""
        try:
            return (self.state / "lab" / "machines" / serial / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def imagings(self, serial: str) -> int:
        """How often an image was begun to be written to that machine's disk."""
        return self.console(serial).count("pachon-agent: image")

    def ssh(self, host: str, command: str) -> str:
        """What a command on that host printed, trusting only what the site signed."""
        return self.pachon("host", "ssh", host, "--", "sh", "-c", command).out

    def down(self) -> None:
        """Take it down whatever state it is in."""
        self.pachon("down")


@contextlib.contextmanager
def rig(name: str) -> Iterator[Rig]:
    """A rig whose lab is taken down and whose folder is removed at the end."""
    top = Path(tempfile.mkdtemp(prefix="t-"))
    made = Rig(name, top)
    try:
        yield made
    finally:
        if made.state.exists():
            made.down()
        shutil.rmtree(top)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill the whole process group with the signal that nobody hears, and close its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def at(stage: str, *, address: str = "", state: str = "", says: str = "") -> Callable[[Told], bool]:
    """Whether an event is of this kind; ``address`` is its end, ``says`` the beginning of its message."""

    def fits(event: Told) -> bool:
        return bool(
            event["stage"] == stage
            and event["address"].endswith(address)
            and event["state"].startswith(state)
            and event["message"].startswith(says)
        )

    return fits


def processes_with(words: str, *, environment: bool = True) -> list[str]:
    """Command lines of the processes that have these words among their arguments or in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes()
            if words.encode() in arguments + ((folder / "environ").read_bytes() if environment else b""):
                found.append(f"{folder.name} {arguments.replace(bytes(1), b' ').decode(errors='replace')}")
    return found
