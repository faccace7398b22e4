"""The SSH driver against real servers on loopback: whom it believes, what it runs, how it fails."""

import asyncio
import marshal
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from infra.boot import ca
from pachon.drivers import sent_program, ssh
from pachon.drivers.ssh import Credentials, Fleet
from pachon.errors import PermanentError, TemporaryError

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench

PROGRAM = """
import os

def main(call):
    return {"told": call, "argv": open(f"/proc/{os.getpid()}/cmdline").read()}
"""
SOON = timedelta(seconds=60)


class Weekday(StrEnum):
    """A text that is not quite one."""

    SATURDAY = "saturday"


class Users(asyncssh.SSHServer):
    """Lets in whose certificate the users CA signed for ``automation``."""

    def __init__(self, authority: str) -> None:
        self._authority = authority

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        line = f'cert-authority,principals="automation" {self._authority}'
        self._connection.set_authorized_keys(asyncssh.import_authorized_keys(line))
        return True


async def run_for_real(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """What a host does, but without sudo."""
    command = (process.command or "").replace("sudo -n /usr/bin/python3", sys.executable)
    child = await asyncio.create_subprocess_shell(
        command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told = await process.stdin.read()
    try:
        out, err = await child.communicate(told)
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    process.stdout.write(out)
    process.stderr.write(err)
    process.exit(child.returncode or 0)


@asynccontextmanager
async def host(
    bench: "Bench", folder: Path, *, names: tuple[str, ...] = ("base-batch01", "127.0.0.1"), signed: bool = True
) -> AsyncIterator[int]:
    """Port of an SSH server whose host key the site's CA signed."""
    key = folder / "hostkey"
    if not key.exists():
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(key))
        asyncssh.read_private_key(str(key)).write_public_key(f"{key}.pub")
    if signed:
        public = key.with_suffix(".pub").read_text()
        (line,) = ca.sign_host(bench.state, "base", serial="SN1", public_keys=[public], names=names)
        (folder / "hostkey-cert.pub").write_text(line)
    server = await asyncssh.create_server(
        lambda: Users((bench.state / "ca/base/ssh_user_ca.pub").read_text()),
        "127.0.0.1",
        0,
        server_host_keys=[(str(key), str(folder / "hostkey-cert.pub")) if signed else str(key)],
        process_factory=run_for_real,
        encoding=None,
    )
    try:
        yield server.get_port()
    finally:
        server.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=10) if others else None


def credentials(bench: "Bench") -> Credentials:
    return Credentials.of_state(bench.state)


def test_a_program_runs_with_its_call_and_nothing_of_it_is_an_argument(bench: "Bench", tmp_path: Path) -> None:
    call: dict[str, Any] = {"secret": "canary-çé😀", "on": True, "none": None, "many": [1, 2.5, {"a": "'\"\n"}]}

    async def work() -> None:
        async with host(bench, tmp_path) as port, Fleet(credentials(bench)) as fleet:
            answer = await fleet.run_program("127.0.0.1", PROGRAM, call, port=port)
            assert answer["told"] == call
            assert "canary" not in answer["argv"]
            first = await fleet.host("127.0.0.1", port=port)
            assert await fleet.host("127.0.0.1", port=port) is first

    asyncio.run(work())


def test_a_program_runs_where_the_host_has_another_python(
    bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call: dict[str, Any] = {"on": True, "none": None, "text": "çé😀"}
    made = sent_program._code(PROGRAM)
    monkeypatch.setattr(sent_program, "_code", lambda text: (b"nobody's", b"no code", made[2]))

    async def work() -> None:
        async with host(bench, tmp_path) as port, Fleet(credentials(bench)) as fleet:
            assert (await fleet.run_program("127.0.0.1", PROGRAM, call, port=port))["told"] == call

    asyncio.run(work())


def test_the_call_can_be_read_from_what_is_sent() -> None:
    call = {"on": True, "text": "x\ny", "none": None, "kind": Weekday.SATURDAY}
    assert sent_program.unpacked(sent_program.packed(PROGRAM, call)) == {**call, "kind": "saturday"}
    for nonsense in (b"", marshal.dumps((1, 2)), marshal.dumps(5)):
        with pytest.raises(ValueError, match="this is no program"):
            sent_program.unpacked(nonsense)


def test_a_program_that_fails_or_answers_no_json_is_an_error_with_what_it_said(bench: "Bench", tmp_path: Path) -> None:
    async def work() -> None:
        async with host(bench, tmp_path) as port, Fleet(credentials(bench)) as fleet:
            with pytest.raises(PermanentError, match="ValueError: disk on fire"):
                await fleet.run_program("127.0.0.1", "def main(c): raise ValueError('disk on fire')", {}, port=port)
            with pytest.raises(PermanentError, match="no JSON"):
                await fleet.run_program("127.0.0.1", "def main(c): print('hello')", {}, port=port)
            answer = await fleet.run_program("127.0.0.1", "def main(c): print('{\"a\": 1}')", {}, port=port)
            assert answer == {"a": 1}
            slow = await fleet.host("127.0.0.1", port=port)
            with pytest.raises(TemporaryError, match="did not end within"):
                await slow.run("exec sleep 1", timeout=timedelta(seconds=0.2))

    asyncio.run(work())


@pytest.mark.parametrize(
    ("signed", "names"), [(False, ("base-batch01", "127.0.0.1")), (True, ("base-batch09", "127.0.0.9"))]
)
def test_a_host_without_a_certificate_for_its_name_is_not_believed(
    bench: "Bench", tmp_path: Path, signed: bool, names: tuple[str, ...]
) -> None:
    async def work() -> None:
        async with host(bench, tmp_path, signed=signed, names=names) as port:
            with pytest.raises(PermanentError, match="no host key that this facility has signed"):
                await ssh.wait_for_login("127.0.0.1", credentials=credentials(bench), port=port, patience=SOON)

    asyncio.run(work())


def test_a_revoked_host_is_not_believed_by_a_fleet_that_knew_it(bench: "Bench", tmp_path: Path) -> None:
    async def work() -> None:
        async with host(bench, tmp_path) as port, Fleet(credentials(bench)) as fleet:
            known = await fleet.host("127.0.0.1", port=port)
            await known.close()
            ca.revoke_host(bench.state, "base", "SN1")
            with pytest.raises(PermanentError, match="signed"):
                await fleet.host("127.0.0.1", port=port)

    asyncio.run(work())


def test_openssh_itself_believes_the_certificate_and_not_the_revoked_key(bench: "Bench", tmp_path: Path) -> None:
    def login(port: int) -> subprocess.CompletedProcess[str]:
        config = bench.state / "ssh_config"
        argv = ["ssh", "-F", str(config), "-p", str(port), "base-batch01", "echo in"]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    async def work() -> None:
        async with host(bench, tmp_path) as port:
            good = await asyncio.to_thread(login, port)
            assert (good.stdout, good.returncode) == ("in\n", 0), good.stderr
            ca.revoke_host(bench.state, "base", "SN1")
            bad = await asyncio.to_thread(login, port)
            assert bad.returncode != 0
            assert "revoked" in bad.stderr.lower()

    asyncio.run(work())


def test_an_ended_user_certificate_is_refused_by_the_host_and_the_error_says_what_renews_it(
    bench: "Bench", tmp_path: Path
) -> None:
    ca.ensure_automation_key(bench.state, bench.facility, now=datetime.now(UTC) + timedelta(days=-3))
    (bench.state / "keys/automation-cert.pub").unlink()
    ca.ensure_automation_key(bench.state, bench.facility, now=datetime.now(UTC) + timedelta(days=-3))

    async def work() -> None:
        async with host(bench, tmp_path) as port:
            with pytest.raises(PermanentError, match="does not let 'pachon' in") as caught:
                await ssh.connect("127.0.0.1", credentials=credentials(bench), port=port)
            assert "pachon up" in caught.value.cure

    asyncio.run(work())


def test_nobody_there_is_temporary_and_the_wait_ends_when_the_host_comes(bench: "Bench", tmp_path: Path) -> None:
    async def work() -> None:
        async with host(bench, tmp_path) as port:
            pass
        with pytest.raises(TemporaryError, match="no SSH answer"):
            await ssh.connect("127.0.0.1", credentials=credentials(bench), port=port)
        with pytest.raises(TemporaryError, match="no SSH answer"):
            await ssh.wait_for_login(
                "127.0.0.1", credentials=credentials(bench), port=port, patience=timedelta(seconds=0.5)
            )

    asyncio.run(work())


def test_the_users_own_keys_agent_and_configuration_are_not_used(
    bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/config").write_text("Host *\n  Port 1\n  User nobody\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "no-agent"))

    async def work() -> None:
        async with host(bench, tmp_path) as port:
            opened = await ssh.connect("127.0.0.1", credentials=credentials(bench), port=port)
            assert (await opened.run("echo $PPID")).strip() == str(os.getpid())
            await opened.close()

    asyncio.run(work())


def test_a_host_that_hangs_up_is_asked_once_by_all_who_ask_side_by_side_and_again_later(bench: "Bench") -> None:
    asked: list[int] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        await asyncio.sleep(0.2)
        writer.close()

    async def work() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server, Fleet(credentials(bench)) as fleet:
            port = server.sockets[0].getsockname()[1]
            begun = fleet.begin("127.0.0.1", port=port)
            waiting = (begun, *(fleet.host("127.0.0.1", port=port) for _ in range(3)))
            told = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(each) for each in told] == [TemporaryError] * 4
            assert len(asked) == 1
            with pytest.raises(TemporaryError):
                await fleet.host("127.0.0.1", port=port)
            assert len(asked) == 2

    asyncio.run(work())


def test_a_connection_that_was_begun_is_the_one_that_is_used(bench: "Bench", tmp_path: Path) -> None:
    async def work() -> None:
        async with host(bench, tmp_path) as port, Fleet(credentials(bench)) as fleet:
            begun = fleet.begin("127.0.0.1", port=port)
            assert await fleet.host("127.0.0.1", port=port) is await begun
            assert fleet.number_open == 1

    asyncio.run(work())
