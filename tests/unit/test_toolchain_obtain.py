"""A program is made once, by the first way that works, and a kill in the middle leaves nothing that misleads."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.toolchain import modules, programs, wheels
from infra.toolchain.obtain import obtain
from infra.toolchain.programs import Program, Release
from pachon.errors import MissingError
from pachon.progress import Event, silent

CHECKOUT = programs.TABLE.parents[2]
TOOL = b"#!/bin/sh\necho v1.2.3\n"
FAKE_GO = """#!/bin/sh
case "$1" in
env) echo {go_version} ;;
list) echo "go: downloading example.org/m v1.0.0" >&2; printf 'example.org/m\\nexample.org/tool\\n' ;;
build)
    echo "$$ $GOFLAGS $GOTOOLCHAIN ${{CANARY:-clean}}" >> {log}
    echo example.org/m >&2
    [ {seconds} -eq 0 ] || exec sleep {seconds}
    while [ -e {hold} ]; do sleep 0.05; done
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho v1.2.3\\n' > "$2"; chmod +x "$2" ;;
esac
"""


def tool(*releases: Release, module: str = "example.org/tool") -> Program:
    return Program(
        name="tool",
        version="1.2.3",
        version_arguments=("version",),
        version_pattern=r"^v(\S+)",
        module=module,
        ldflags="-s",
        releases={os.uname().machine: release for release in releases},
    )


class Machine:
    """A cache, and a PATH with a Go that only pretends."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.log = folder / "builds.log"
        self.hold = folder / "hold"
        """While this file is there, a build goes on."""
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.put_go()

    def put_go(self, *, go_version: str = "go1.99.0", seconds: int = 0) -> None:
        go = self.bin / "go"
        go.write_text(FAKE_GO.format(go_version=go_version, log=self.log, seconds=seconds, hold=self.hold))
        go.chmod(0o755)

    @property
    def builds(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", f"{machine.bin}:/usr/bin:/bin")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("CANARY", "leaked")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return machine


@contextmanager
def served(folder: Path, *, content: bytes = TOOL, sha256: str = "") -> Iterator[Release]:
    """A release of the tool on a server of its own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("tool/tool")
        member.size, member.mode = len(content), 0o755
        tar.addfile(member, io.BytesIO(content))
    folder.mkdir()
    (folder / "tool.tar.gz").write_bytes(buffer.getvalue())

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # named by the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Release(
            url=f"http://127.0.0.1:{server.server_address[1]}/tool.tar.gz",
            sha256=sha256 or hashlib.sha256(buffer.getvalue()).hexdigest(),
            folder="tool",
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_official_release_comes_before_a_build_and_is_in_the_cache_then(machine: Machine, tmp_path: Path) -> None:
    with served(tmp_path / "www") as release:
        assert obtain(tool(release), cache=machine.cache, progress=silent).origin == "release"
    again = obtain(tool(release), cache=machine.cache, progress=silent)
    assert (again.origin, again.path) == ("cache", machine.cache / "bin" / "tool-1.2.3" / "tool")
    assert machine.builds == []
    assert list((machine.cache / "downloads").iterdir()) == []


def test_a_release_with_a_wrong_digest_is_told_and_the_program_is_built(machine: Machine, tmp_path: Path) -> None:
    events: list[Event] = []
    with served(tmp_path / "www", sha256="00" * 32) as release:
        assert obtain(tool(release), cache=machine.cache, progress=events.append).origin == "modules"
    assert any("pinned is 0000" in event.message and "removed unused" in event.message for event in events)
    assert list((machine.cache / "downloads").iterdir()) == []


def test_a_release_that_is_not_pinned_is_never_asked_for(machine: Machine) -> None:
    release = Release(url="http://127.0.0.1:9/tool.tar.gz", sha256="", folder="tool")
    events: list[Event] = []
    assert obtain(tool(release), cache=machine.cache, progress=events.append).origin == "modules"
    assert any("is not pinned" in event.message for event in events)


def test_a_release_of_another_version_than_it_says_is_not_taken(machine: Machine, tmp_path: Path) -> None:
    with (
        served(tmp_path / "www", content=b"#!/bin/sh\necho v9.9.9\n") as release,
        pytest.raises(MissingError, match=r"says that its version is 9\.9\.9"),
    ):
        obtain(tool(release, module=""), cache=machine.cache, progress=silent)
    assert not (machine.cache / "bin" / "tool-1.2.3").exists()


def test_when_no_way_works_every_reason_is_said(machine: Machine) -> None:
    with pytest.raises(MissingError, match=r"none for this processor.*no Go module") as caught:
        obtain(tool(module=""), cache=machine.cache, progress=silent)
    assert "PATH" in caught.value.cure


def test_a_build_is_told_of_and_gets_none_of_our_flags(machine: Machine) -> None:
    events: list[Event] = []
    obtain(tool(), cache=machine.cache, progress=events.append)
    messages = [event.message for event in events]
    assert "fetching Go modules: 1" in messages
    assert "compiling Go packages: 1 of 2 at most" in messages
    assert machine.builds[0].split(" ", 1)[1] == "-mod=readonly local clean"


def test_a_go_that_is_too_old_is_replaced_by_the_one_from_pypi(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.put_go(go_version="go1.19.8")
    newer = Machine.__new__(Machine)
    newer.bin, newer.log, newer.hold = tmp_path / "wheel" / "go" / "bin", machine.log, machine.hold
    newer.bin.mkdir(parents=True)
    newer.put_go()
    (newer.bin / "go").chmod(0o644)  # as a wheel may leave it

    def ensure(name: str, *, cache: Path, progress: object) -> Path:
        return tmp_path / "wheel"

    monkeypatch.setattr(wheels, "ensure", ensure)
    events: list[Event] = []
    assert obtain(tool(), cache=machine.cache, progress=events.append).origin == "modules"
    assert any("is older than" in event.message for event in events)


@pytest.mark.parametrize(
    ("said", "fit"), [("go1.26.8", True), ("go1.25.11", True), ("go1.25.9", False), ("go1.3", False), ("devel", False)]
)
def test_go_versions_are_compared_by_number(said: str, fit: bool) -> None:
    assert (modules.parsed(said) >= (1, 25, 11)) is fit


def another(machine: Machine) -> subprocess.Popen[str]:
    """A process of its own that obtains the tool."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from infra.toolchain.obtain import obtain\n"
        "from infra.toolchain.programs import Program\n"
        f"tool = Program(**{vars(tool())!r})\n"
        f"found = obtain(tool, cache=Path({str(machine.cache)!r}), progress=lambda event: print(event.message))\n"
        "print('origin', found.origin)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)


def wait_for_builds(machine: Machine, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(machine.builds) < number and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(machine.builds) == number


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_two_at_once_build_it_once_and_the_second_says_that_it_waits(machine: Machine) -> None:
    machine.put_go()
    machine.hold.touch()
    first = another(machine)
    wait_for_builds(machine, 1)
    second = another(machine)
    assert second.stdout is not None
    waits = second.stdout.readline()
    machine.hold.unlink()
    said = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert len(machine.builds) == 1
    assert "origin modules" in said[0]
    assert f"process {first.pid} is at it" in waits
    assert "origin cache" in said[1]


def test_killed_in_the_middle_of_a_build_it_leaves_no_process_and_the_next_run_works(machine: Machine) -> None:
    machine.put_go(seconds=300)
    process = another(machine)
    wait_for_builds(machine, 1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    builder = int(machine.builds[0].split()[0])
    deadline = time.monotonic() + 60
    while runs(builder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(builder)
    machine.put_go()
    assert obtain(tool(), cache=machine.cache, progress=silent).origin == "modules"
    assert [path.name for path in (machine.cache / "bin").iterdir()] == ["tool-1.2.3"]
