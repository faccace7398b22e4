"""The way to the boot service: an address, words over pinned HTTPS, images over HTTP."""

import contextlib
import hashlib
import http.client
import json
import secrets
import shutil
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .console import PassingError, TroubleError, run, say
from .machine import Facts, nics

T = TypeVar("T")

PATIENCE_SECONDS = 120.0


def bring_up_network(server: str) -> None:
    """Get an address by DHCP unless there is a way to the server already."""
    host = urllib.parse.urlsplit(server).hostname or ""
    if has_way_to(host):
        return
    names = [nic["name"] for nic in nics()]
    for name in names:
        run("ip", "link", "set", name, "up")
    for _ in range(5):
        if shutil.which("dhclient"):
            run("dhclient", "-1", "-4", *names, allowed=range(256))
        else:
            for name in names:
                run("busybox", "udhcpc", "-n", "-q", "-t", "3", "-T", "2", "-i", name, allowed=range(256))
                if has_way_to(host):
                    return
        if has_way_to(host):
            return
        time.sleep(1)
    raise TroubleError("no address by DHCP on any NIC", "network")


def has_way_to(host: str) -> bool:
    """Whether there is a route to this address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return False
        return True


class Server:
    """The boot service, known by the pin of its certificate; every word carries this run's session."""

    def __init__(self, url: str, token: str, pin: str) -> None:
        self._where = urllib.parse.urlsplit(url)
        self._token, self._pin = token, pin
        self._connection: http.client.HTTPSConnection | None = None
        self._moved_at = 0.0
        self.session = secrets.token_hex(16)
        self.patience = PATIENCE_SECONDS

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the pin below is stricter, and needs no clock
        host, port = self._where.hostname or "", self._where.port
        connection = http.client.HTTPSConnection(host, port, timeout=15, context=context)
        connection.connect()
        if hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest() != self._pin:
            connection.close()
            raise TroubleError("the boot service has another certificate than the one pinned", "network")
        return connection

    def _post(self, name: str, body: Facts) -> Facts:
        data = json.dumps({**body, "session": self.session})
        try:
            self._connection = self._connection or self._connect()
            self._connection.request("POST", f"/v1/{self._token}/{name}", data, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise PassingError(f"{type(error).__name__}: {error}") from error
        if response.status >= 500:
            raise PassingError(f"the boot service answered {response.status}")
        if response.status == 404:
            raise TroubleError("the boot service does not know this token (any more)", "network")
        answer: Facts = json.loads(text)
        if response.status != 200:
            raise TroubleError(f"refused: {answer.get('error')}; {answer.get('cure')}", "network")
        return answer

    def post(self, name: str, **body: Any) -> Facts:
        """The answer; tried again for a while when the network or the service is away."""
        return patiently(lambda: self._post(name, body), name, self.patience)

    def moved(self, phase: str, fraction: float | None = None, message: str = "") -> None:
        """Tell how far it is, at most twice a second, and never wait for it."""
        now = time.monotonic()
        if now - self._moved_at >= 0.5:
            self._moved_at = now
            with contextlib.suppress(PassingError):
                self._post("progress", {"phase": phase, "fraction": fraction, "message": message})


def patiently(work: Callable[[], T], name: str, patience: float) -> T:
    """The answer of ``work``, tried again with growing pauses while it fails in a passing way."""
    end = time.monotonic() + patience
    pause = 0.2
    while True:
        try:
            return work()
        except PassingError as error:
            if time.monotonic() + pause > end:
                raise TroubleError(f"{name}: {error} (tried for {patience:.0f} s)", "network") from error
            say(f"{name}: {error}; trying again")
        time.sleep(pause)
        pause = min(pause * 2, 5.0)


@contextlib.contextmanager
def download(url: str, patience: float) -> Iterator[http.client.HTTPResponse]:
    """The open response; a full server is asked again."""
    where = urllib.parse.urlsplit(url)

    def once() -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        try:
            connection.request("GET", where.path)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise PassingError(f"{type(error).__name__}: {error}") from error
        if response.status == 200:
            return connection, response
        connection.close()
        if response.status == 503:
            raise PassingError("the boot server is sending to others")
        raise TroubleError(f"the boot service answered {response.status} for {where.path}", "image")

    connection, response = patiently(once, "download", patience)
    try:
        yield response
    finally:
        connection.close()
