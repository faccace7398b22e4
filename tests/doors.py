"""A front door as its role configures it, and hosts behind it: a real HAProxy on loopback, with real certificates."""

import asyncio
import contextlib
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import jinja2
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pachon.drivers import pki
from pachon.drivers.front_door import FrontDoor, Server
from pachon.drivers.ssh import Host
from pachon.errors import TemporaryError
from pachon.places import CHECKOUT

ROLE = CHECKOUT / "playbooks" / "roles" / "front_door"
DEFAULTS: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
BACKEND, NAME = "demo.https", "demo.base.test"
PATIENCE_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def listening(make: Callable[[], ThreadingHTTPServer]) -> ThreadingHTTPServer:
    """The server, as soon as nobody else has its port."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return make()
        except OSError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.1)


class Carrier:
    """A host that carries the service: answers with its name, over TLS."""

    def __init__(self, name: str, certificate: Path) -> None:
        self.name = name
        self._certificate = certificate
        self.port = 0
        """Given by the system at the first start, and kept."""
        self._server: ThreadingHTTPServer | None = None
        self.start()

    def start(self) -> None:
        """Listen, with the certificate that is there now."""
        name = self.name.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = listening(lambda: ThreadingHTTPServer(("127.0.0.1", self.port), Handler))
        self.port = int(self._server.server_address[1])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._certificate.with_suffix(".key"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Here:
    """Runs sent programs in this process, as a host would."""

    async def run_program(self, program_text: str, call: Mapping[str, Any], *, timeout: timedelta) -> dict[str, Any]:
        """As of ``pachon.drivers.ssh.Host``."""
        names: dict[str, Any] = {}
        exec(program_text, names)  # what a host does with it
        return cast("dict[str, Any]", await asyncio.to_thread(names["main"], dict(call)))


async def here() -> Host:
    return cast("Host", Here())


@dataclass
class Door:
    """A front door with two carriers behind it."""

    folder: Path
    carriers: list[Carrier]
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    weight: int = 100
    process: "subprocess.Popen[bytes] | None" = None
    plain: bool = False
    """Carriers are spoken to without TLS."""

    def configure(self) -> None:
        """Write what the role would, with places of this test."""
        servers = [
            {"name": each.name, "address": "127.0.0.1", "port": each.port, "certified": f"{each.name}.test"}
            for each in self.carriers
        ]
        backend = {"name": BACKEND, "mode": "http", "port": self.port, "names": [NAME], "check_path": "/ok"}
        told = {
            **DEFAULTS,
            "front_door_weight": self.weight,
            "front_door_metrics_port": self.metrics_port,
            "front_door_backends": [{**backend, "check_status": 200, "plain": self.plain, "servers": servers}],
            "ansible_managed": "a test",
        }
        engine = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        text = engine.from_string((ROLE / "templates" / "host" / "haproxy.cfg.j2").read_text()).render(told)
        own = [line for line in text.splitlines() if line.split()[:1] not in (["chroot"], ["user"], ["group"])]
        (self.folder / "haproxy.cfg").write_text(
            self._placed("\n".join(own) + "\n").replace("bind :", "bind 127.0.0.1:")
        )
        keeper = self.folder / "front-door-state"
        keeper.write_text(self._placed((ROLE / "files" / "front-door-state").read_text()))

    def _placed(self, text: str) -> str:
        places = {
            "/etc/haproxy/haproxy.cfg": "haproxy.cfg",
            "/etc/pachon/pki": "pki",
            "/run/haproxy/admin.sock": "admin.sock",
            "/var/lib/pachon/front-door": "kept",
        }
        for role_s, own in places.items():
            text = text.replace(role_s, str(self.folder / own))
        return text

    def start(self) -> None:
        """Start HAProxy, and wait until it answers; on other ports where somebody has taken one of them."""
        assert HAPROXY is not None, "there is no haproxy here: run 'make setup'"
        end = time.monotonic() + PATIENCE_SECONDS
        while self.process is None or (self.process.poll() is not None and time.monotonic() < end):
            if self.process is not None:
                self.port, self.metrics_port = free_port(), free_port()
                self.configure()
                (self.folder / "log").unlink(missing_ok=True)
            with (self.folder / "log").open("ab") as log:
                argv = [HAPROXY, "-W", "-f", str(self.folder / "haproxy.cfg")]
                self.process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
            while not self.answers() and self.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
        assert self.answers(), (self.folder / "log").read_text()

    def answers(self) -> bool:
        """Whether it can be told something."""
        try:
            self.servers()
        except TemporaryError:
            return False
        return True

    def kill(self) -> None:
        """Kill HAProxy with the signal that nobody hears."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def unit(self, moment: str) -> None:
        """What its unit has its own program do at that moment (``ExecReload``)."""
        for line in (ROLE / "files" / "unit.conf").read_text().splitlines():
            named, _, command = line.partition("=")
            if named == moment and "front-door-state" in command:
                argv = [sys.executable, str(self.folder / "front-door-state"), *command.split()[1:]]
                subprocess.run(argv, check=True)

    def reload(self) -> None:
        """Reload it, as its unit does."""
        assert self.process is not None
        log = self.folder / "log"
        workers = log.read_text().count("New worker")
        self.unit("ExecReload")
        os.kill(self.process.pid, signal.SIGUSR2)
        until(lambda: log.read_text().count("New worker") > workers and self.answers())

    @property
    def driver(self) -> FrontDoor:
        """The driver, as a rollout has it."""
        keep = (sys.executable, str(self.folder / "front-door-state"), "--as-healthy")
        return FrontDoor("door01", here, socket=str(self.folder / "admin.sock"), keep=keep)

    def servers(self) -> dict[str, Server]:
        """What the driver says of its servers."""
        return {each.name: each for each in asyncio.run(self.driver.servers())}

    def do(self, change: Awaitable[tuple[Server, ...]]) -> dict[str, Server]:
        """What the driver says after a change."""

        async def awaited() -> tuple[Server, ...]:
            return await change

        return {each.name: each for each in asyncio.run(awaited())}

    def get(self, path: str = "/", *, name: str = NAME) -> tuple[int, str]:
        """Status and body of an answer."""
        context = ssl.create_default_context(cafile=str(self.folder / "pki" / "trust.pem"))
        link = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS, context=context)
        link.request("GET", path, headers={"Host": name})
        answer = link.getresponse()
        body = answer.read().decode()
        link.close()
        return answer.status, body

    def measures(self, *, known: bool = True) -> tuple[int, str]:
        """What it tells Prometheus, or somebody without a certificate."""
        trust = ssl.create_default_context(cafile=str(self.folder / "pki" / "trust.pem"))
        if known:
            trust.load_cert_chain(self.folder / "one.crt", self.folder / "one.key")
        link = http.client.HTTPSConnection("127.0.0.1", self.metrics_port, timeout=PATIENCE_SECONDS, context=trust)
        link.request("GET", "/metrics")
        answer = link.getresponse()
        body = answer.read().decode()
        link.close()
        return answer.status, body

    def who(self, number: int = 12) -> set[str]:
        """Who answered so many requests; none may fail."""
        answers = [self.get() for _ in range(number)]
        assert {status for status, _ in answers} == {200}
        return {body for _, body in answers}


@contextlib.contextmanager
def standing(folder: Path, *names: str) -> Iterator[Door]:
    """A front door with carriers of these names; all of it ends with it."""
    (folder / "kept").mkdir()
    pki.ensure_site(folder, "base")
    own = folder / "pki"
    (own / "trust.pem").write_text(pki.trust_bundle(folder, ["base"]))
    certify(folder, own / "host.crt", "door01.test", now=datetime.now(UTC))
    carriers = []
    for name in names:
        certify(folder, folder / f"{name}.crt", f"{name}.test", now=datetime.now(UTC))
        carriers.append(Carrier(name, folder / f"{name}.crt"))
    made = Door(folder, carriers)
    try:
        made.configure()
        made.start()
        yield made
    finally:
        made.kill()
        for carrier in carriers:
            carrier.stop()


def certify(folder: Path, file: Path, name: str, *, now: datetime) -> None:
    """Key and certificate of the site's CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    whose = pki.Subject(name=name, addresses=("127.0.0.1",))
    file.write_text(pki.issue(folder, "base", request_pem=pem, subject=whose, now=now))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.with_suffix(".key").write_bytes(private)
