"""Channels that stay open, against real servers on loopback: one process a host, opened anew where it broke."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import asyncssh
import pytest

from infra.boot import ca
from pachon.drivers.channels import Channels
from pachon.drivers.ssh import Credentials
from pachon.errors import PermanentError, TemporaryError
from tests.unit.boot.test_ssh_fleet import Users

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench

PROGRAM = """
import os, subprocess, sys, time

def main(call):
    print("noise, which must not get among the answers")
    subprocess.run(["cat"], check=True)
    if call.get("fail"):
        raise SystemExit("disk on fire")
    time.sleep(call.get("seconds", 0))
    return {"told": call, "pid": os.getpid(), "big": "x" * call.get("size", 0)}
"""


class Sink(Protocol):
    """What bytes go into."""

    def write(self, data: bytes) -> None: ...

    def write_eof(self) -> None: ...

    async def drain(self) -> None: ...


class Server:
    """An SSH server that runs what it is told, without sudo, as a host does."""

    def __init__(self) -> None:
        self.port = 0
        self.listening: asyncssh.SSHAcceptor | None = None
        self.commands: list[str] = []
        self.connections: list[asyncssh.SSHServerConnection] = []

    def silence(self) -> None:
        """Answer nobody any more."""
        assert self.listening is not None
        self.listening.close()
        for connection in self.connections:
            connection.abort()

    async def run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        self.connections.append(process.get_extra_info("connection"))
        child = await asyncio.create_subprocess_shell(
            command.replace("sudo -n /usr/bin/python3", f"exec {sys.executable}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        feeding = asyncio.create_task(_pour(process.stdin, child.stdin))
        try:
            await _pour(child.stdout, process.stdout)
            process.exit(await child.wait())
        finally:
            feeding.cancel()
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.stdin.close()
            await child.wait()


async def _pour(source: asyncssh.SSHReader[bytes] | asyncio.StreamReader, sink: Sink) -> None:
    """Hand on all that comes (asyncssh's own ``redirect`` leaves coroutines behind that nobody awaits)."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while block := await source.read(1 << 16):
            sink.write(block)
            await sink.drain()
        sink.write_eof()


@asynccontextmanager
async def host(
    bench: "Bench", folder: Path, *, port: int = 0, names: tuple[str, ...] = ("127.0.0.1",)
) -> AsyncIterator[Server]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    folder.mkdir(exist_ok=True)
    key.write_private_key(str(folder / "hostkey"))
    public = key.export_public_key().decode()
    (line,) = ca.sign_host(bench.state, "base", serial="SN1", public_keys=[public], names=names)
    (folder / "hostkey-cert.pub").write_text(line)
    server = Server()
    authority = (bench.state / "ca/base/ssh_user_ca.pub").read_text()
    listening = await asyncssh.create_server(
        lambda: Users(authority),
        "127.0.0.1",
        port,
        server_host_keys=[(str(folder / "hostkey"), str(folder / "hostkey-cert.pub"))],
        process_factory=server.run,
        encoding=None,
        reuse_address=True,
    )
    server.port, server.listening = listening.get_port(), listening
    try:
        yield server
    finally:
        server.silence()
        await listening.wait_closed()


def channels(bench: "Bench") -> Channels:
    return Channels(Credentials.of_state(bench.state))


def test_one_process_carries_out_all_programs_and_ends_with_its_channel(bench: "Bench", tmp_path: Path) -> None:
    async def work() -> None:
        async with host(bench, tmp_path / "a") as server:
            async with channels(bench) as fleet:

                async def ask(call: dict[str, Any], text: str = PROGRAM) -> dict[str, Any]:
                    return await fleet.run_program("127.0.0.1", text, call, port=server.port)

                call = {"secret": "canary-çé😀", "many": [1, 2.5, {"a": "'\"\n"}], "none": None}
                first = await ask(call)
                assert first["told"] == call
                assert (await ask(call))["told"] == call
                assert len((await ask({"size": 3 << 20}))["big"]) == 3 << 20
                with pytest.raises(PermanentError, match="disk on fire"):
                    await ask({"fail": True})
                with pytest.raises(PermanentError, match="ZeroDivisionError"):
                    await ask({}, "def main(call): return 1 / 0")
                assert (await ask({"last": 1}))["pid"] == first["pid"]
                assert len(server.commands) == 1
                assert "canary" not in server.commands[0]
            for _ in range(200):
                if not _lives(first["pid"]):
                    break
                await asyncio.sleep(0.05)
            assert not _lives(first["pid"])

    asyncio.run(work())


def test_what_broke_is_opened_anew_within_the_same_call(bench: "Bench", tmp_path: Path) -> None:
    async def work() -> None:
        async with channels(bench) as fleet:
            async with host(bench, tmp_path / "a") as server:
                port = server.port
                first = (await fleet.run_program("127.0.0.1", PROGRAM, {"a": 1}, port=port))["pid"]
                os.kill(first, signal.SIGKILL)
                again = await fleet.run_program("127.0.0.1", PROGRAM, {"a": 1}, port=port)
                assert again["told"] == {"a": 1}
                assert again["pid"] != first
                server.connections[-1].abort()
                assert (await fleet.run_program("127.0.0.1", PROGRAM, {"a": 1}, port=port))["told"] == {"a": 1}
            with pytest.raises(TemporaryError, match="no SSH answer"):
                await fleet.run_program("127.0.0.1", PROGRAM, {}, port=port)
            async with host(bench, tmp_path / "b", port=port):  # another installation, with keys of its own
                assert (await fleet.run_program("127.0.0.1", PROGRAM, {"b": 2}, port=port))["told"] == {"b": 2}

    asyncio.run(work())


def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(bench: "Bench", tmp_path: Path) -> None:
    async def work() -> None:
        async with host(bench, tmp_path / "a") as server, channels(bench) as fleet:
            with pytest.raises(TemporaryError, match="did not end within"):
                await fleet.run_program(
                    "127.0.0.1", PROGRAM, {"seconds": 3}, port=server.port, timeout=timedelta(seconds=0.5)
                )
            told = await fleet.run_program("127.0.0.1", PROGRAM, {"seconds": 0}, port=server.port)
            assert told["told"] == {"seconds": 0}

    asyncio.run(work())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
