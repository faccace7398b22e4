"""Verification against real SSH servers on loopback: who is tested, what is told, and what few connections cost."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import asyncssh
import pytest

from pachon.definition import find, load
from pachon.drivers.testinfra.orders import Orders, Target
from pachon.errors import UsageError
from pachon.progress import Event, silent
from pachon.verify import Verification, orders, verify, write_junit
from pachon.verify import test_files as files_of

ROLE_TEST = """
import pytest

def test_greets(host):
    assert host.check_output("echo hello") == "hello"

@pytest.mark.parametrize("word", ["one", "two"])
def test_words(host, word):
    assert host.run("echo %s", word).stdout.strip() == word

def test_is_red(host):
    assert host.check_output("echo blue") == "red"
"""


@dataclass
class Fleet:
    """SSH servers of a few hosts, with the number of logins that are open now and ever were."""

    folder: Path
    port_by_host: dict[str, int] = field(default_factory=dict)
    open_now: int = 0
    open_most: int = 0
    logins: int = 0
    shells: int = 0
    """Ever started."""
    children: set[asyncio.subprocess.Process] = field(default_factory=set)

    async def close(self) -> None:
        """End what hangs on the servers."""
        for child in list(self.children):
            os.killpg(child.pid, signal.SIGKILL)
            await child.wait()

    def orders(self, *names: str, roles: tuple[str, ...] = ("web",), connections: int = 4) -> Orders:
        targets = tuple(
            Target(name=name, site="here", address="127.0.0.1", port=self.port_by_host.get(name, 1), roles=roles)
            for name in names
        )
        return Orders(
            facility="t-verify",
            domain="t.test",
            user="pachon",
            key=self.folder / "key",
            known_hosts=self.folder / "known_hosts.plain",
            targets=targets,
            connect_seconds=20,
            command_seconds=3,
            connections=connections,
        )


class Server(asyncssh.SSHServer):
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.known = False

    def auth_completed(self) -> None:
        self.known = True
        self.fleet.logins += 1
        self.fleet.open_now += 1
        self.fleet.open_most = max(self.fleet.open_most, self.fleet.open_now)

    def connection_lost(self, exc: Exception | None) -> None:
        self.fleet.open_now -= self.known


async def pump(source: Any, sink: Any) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
    if isinstance(sink, asyncio.StreamWriter):
        sink.close()


async def serve(fleet: Fleet, names: list[str]) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    key = asyncssh.generate_private_key("ssh-ed25519")
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(fleet.folder / "key")
    authority.generate_user_certificate(key, "test", principals=["pachon"]).write_certificate(
        fleet.folder / "key-cert.pub"
    )
    trusted = f"cert-authority {authority.export_public_key().decode()}"
    sudo = fleet.folder / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n')
    sudo.chmod(0o755)

    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            f"PATH={sudo.parent}:$PATH; {process.command}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        fleet.children.add(child)
        fleet.shells += 1
        feeding = asyncio.create_task(pump(process.stdin, child.stdin))
        await asyncio.gather(pump(child.stdout, process.stdout), pump(child.stderr, process.stderr))
        process.exit(await child.wait())
        fleet.children.discard(child)
        feeding.cancel()

    lines = []
    for name in names:
        listener = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: Server(fleet),
            server_host_keys=[host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(trusted),
            process_factory=handle,
            encoding=None,
        )
        fleet.port_by_host[name] = listener.get_port()
        public = host_key.export_public_key().decode().strip()
        lines.append(f"[127.0.0.1]:{listener.get_port()} {public}\n")
    (fleet.folder / "known_hosts.plain").write_text("".join(lines))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    found = Fleet(tmp_path_factory.mktemp("fleet"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    names = [f"h{number}" for number in range(5)]
    asyncio.run_coroutine_threadsafe(serve(found, names), loop).result(60)
    yield found
    asyncio.run_coroutine_threadsafe(found.close(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    tests = tmp_path / "roles" / "web" / "tests"
    tests.mkdir(parents=True)
    (tests / "test_web.py").write_text(ROLE_TEST)
    return tmp_path / "roles"


def told(verification: Verification, host: str) -> dict[str, str]:
    return {
        outcome.test: outcome.verdict
        for outcome in verification.outcomes
        if outcome.host == host and outcome.role == "web"
    }


def test_role_is_tested_on_each_host_that_carries_it_and_junit_says_the_same(fleet: Fleet, roles: Path) -> None:
    events: list[Event] = []
    verification = asyncio.run(verify(fleet.orders("h0", "h1"), progress=events.append, roles=roles))
    expected = {
        "test_greets": "passed",
        "test_words": "passed",
        "test_is_red": "failed",
        "test_knows_its_name": "failed",
    }
    for host in ("h0", "h1"):
        assert {**told(verification, host), "test_knows_its_name": "failed"} == expected
    red = next(outcome for outcome in verification.outcomes if outcome.test == "test_is_red")
    assert "blue" in red.message
    assert {event.address for event in events if event.state == "failed"} >= {"here/host/h0", "here/host/h1"}

    path = roles / "out" / "junit.xml"
    write_junit(verification, path)
    root = ElementTree.parse(path).getroot()
    assert root.get("tests") == str(len(verification.outcomes))
    assert root.get("failures") == str(verification.counts["failed"])
    assert {suite.get("name") for suite in root} == {"h0", "h1"}


def test_unreachable_host_is_reported_once_and_others_go_on(fleet: Fleet, roles: Path) -> None:
    verification = asyncio.run(verify(fleet.orders("h0", "gone"), progress=silent, roles=roles))
    gone = [outcome for outcome in verification.outcomes if outcome.host == "gone"]
    assert [outcome.verdict for outcome in gone].count("unreachable") == 1
    assert {outcome.verdict for outcome in gone} == {"unreachable", "skipped"}
    assert next(outcome for outcome in gone if outcome.verdict == "unreachable").cure
    assert told(verification, "h0")["test_greets"] == "passed"


def test_command_that_hangs_is_given_up_and_the_next_test_runs(fleet: Fleet, roles: Path) -> None:
    path = roles / "web" / "tests" / "test_web.py"
    path.write_text("def test_hangs(host):\n    host.run('sleep 60')\n\ndef test_later(host):\n    host.run('true')\n")
    verification = asyncio.run(verify(fleet.orders("h2"), progress=silent, roles=roles))
    assert told(verification, "h2") == {"test_hangs": "failed", "test_later": "passed"}
    hung = next(outcome for outcome in verification.outcomes if outcome.test == "test_hangs")
    assert "did not end within 3 s" in hung.message


def test_stranger_with_another_host_key_is_not_spoken_to(fleet: Fleet, roles: Path, tmp_path: Path) -> None:
    orders = fleet.orders("h3")
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{fleet.port_by_host['h3']} {stranger}\n")
    before = fleet.logins
    verification = asyncio.run(verify(orders.model_copy(update={"known_hosts": known}), progress=silent, roles=roles))
    unreachable = [outcome for outcome in verification.outcomes if outcome.verdict == "unreachable"]
    assert len(unreachable) == 1
    assert "another host key" in unreachable[0].message
    assert fleet.logins == before


def test_no_more_connections_are_open_than_allowed(fleet: Fleet, roles: Path) -> None:
    path = roles / "web" / "tests" / "test_web.py"
    path.write_text("def test_true(host):\n    assert host.run('true').rc == 0\n")
    fleet.open_most = fleet.open_now
    start = fleet.open_now
    orders = fleet.orders("h0", "h1", "h2", "h3", "h4", connections=2)
    logins, shells = fleet.logins, fleet.shells
    verification = asyncio.run(verify(orders, progress=silent, roles=roles))
    assert {told(verification, f"h{number}")["test_true"] for number in range(5)} == {"passed"}
    assert (fleet.logins - logins, fleet.shells - shells) == (5, 5)
    assert fleet.open_most - start <= 3


def test_test_file_that_cannot_be_read_is_a_failure_with_its_name(fleet: Fleet, roles: Path) -> None:
    path = roles / "web" / "tests" / "test_web.py"
    path.write_text("import no_such_module\n")
    verification = asyncio.run(verify(fleet.orders("h0"), progress=silent, roles=roles))
    broken = [outcome for outcome in verification.failed if "cannot be read" in outcome.message]
    assert len(broken) == 1
    assert "test_web.py" in broken[0].message


def test_plain_pytest_needs_only_a_facility_and_leaves_out_roles_that_nobody_carries(tmp_path: Path) -> None:
    for role in ("admin", "base", "nobody"):
        tests = tmp_path / "roles" / role / "tests"
        tests.mkdir(parents=True)
        (tests / f"test_{role}.py").write_text("def test_it(host):\n    pass\n")
    environment = {**os.environ, "PACHON_STATE": str(tmp_path / "state")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "--facility", "lab", "-q", "-c", os.devnull, str(tmp_path / "roles")]
        return subprocess.run([*command, *words], check=False, capture_output=True, text=True, env=environment)

    listed = run("--collect-only").stdout
    assert "test_admin.py::test_it[base-adm01]" in listed
    assert "test_admin.py::test_it[base-stor01]" not in listed
    assert "test_base.py::test_it[base-stor01]" in listed
    assert "nobody" not in listed
    done = run()
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "'pachon lab up' builds its hardware" in done.stderr + done.stdout


def test_names_say_which_hosts_and_which_roles(tmp_path: Path) -> None:
    lab = load(find("lab"))

    def chosen(*names: str) -> tuple[set[str], set[str]]:
        found = orders(lab, state=tmp_path, only=names)
        return {target.name for target in found.targets}, {*found.roles}

    everywhere = {host.name for site in lab.sites for host in site.active_hosts}
    storage = {host.name for site in lab.sites for host in site.active_hosts if "storage" in host.groups}
    assert chosen() == (everywhere, set())
    assert chosen("storage") == (storage, {"storage"})
    assert chosen("base") == ({host.name for host in lab.site("base").active_hosts}, set())
    assert chosen("role/base") == (everywhere, {"base"})
    assert chosen("archive", "storage") == ({host for host in storage if host.startswith("archive")}, {"storage"})
    assert all(name.endswith("stor01") for name in chosen("archive-base")[0])
    assert all("db" in name for name in chosen("database")[0])
    with pytest.raises(UsageError, match="no active site, enclave, host or role 'bse'"):
        chosen("bse")
    base = {path.parent.parent.name for path in files_of(orders(lab, state=tmp_path).targets)}
    assert {"base", "storage"} <= base
    assert [path.name for path in files_of((), only=("storage",))] == ["test_storage.py"]
