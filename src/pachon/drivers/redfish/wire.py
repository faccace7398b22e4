"""Redfish over HTTP: one BMC, a time limit for each request, retries for what may pass, the certificate pinned.

Credentials never leave this module: they are typed secrets and appear in no message.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import SecretStr
from yarl import URL

from pachon.drivers.http import aiohttp
from pachon.errors import PermanentError, TemporaryError

Document = dict[str, Any]
MAX_BODY_BYTES = 8 << 20
KEEP_ALIVE = timedelta(seconds=0.5)
RETRIED = frozenset({429, 500, 502, 503, 504})


class Endpoint(NamedTuple):
    """Where a BMC answers."""

    host: str
    port: int = 443


@dataclass(frozen=True)
class Limits:
    """How long a BMC may take."""

    request: timedelta = timedelta(seconds=2)
    """One request, TLS handshake included."""
    total: timedelta = timedelta(seconds=30)
    """One operation: all its requests, retries and verifying reads."""
    attempts: int = 3
    late_attempts: int = 2
    """As ``attempts``, where the time limit of a request ran out each time."""
    pause: timedelta = timedelta(milliseconds=200)
    """Before the second attempt; doubled before each later one."""
    poll: timedelta = timedelta(milliseconds=250)
    """Between two verifying reads."""


class LateError(TemporaryError):
    """No answer within the time limit of a request."""


class Answer(NamedTuple):
    """A response that was accepted."""

    document: Document
    etag: str
    headers: dict[str, str]
    """Names in lower case."""


class Pin(aiohttp.Fingerprint):
    """Lets only the pinned certificate through; without a pin the first one seen, which it remembers."""

    def __init__(self, pinned_sha256: str) -> None:
        self.pinned = bytes.fromhex(pinned_sha256)
        super().__init__(self.pinned or bytes(32))
        self.seen = b""

    def check(self, transport: asyncio.Transport) -> None:
        """Raise ServerFingerprintMismatch for any other certificate."""
        shown = transport.get_extra_info("ssl_object")
        if shown is None:
            return
        self.seen = hashlib.sha256(shown.getpeercert(binary_form=True)).digest()
        self.pinned = self.pinned or self.seen
        if self.seen != self.pinned:
            host, port, *_ = transport.get_extra_info("peername")
            raise aiohttp.ServerFingerprintMismatch(self.pinned, self.seen, host, port)


class Wire:
    """Requests to one BMC; open between ``open`` and ``close``."""

    def __init__(
        self, endpoint: Endpoint, username: str, password: SecretStr, *, tls_sha256: str, limits: Limits, plain: bool
    ) -> None:
        self.endpoint = endpoint
        self.limits = limits
        try:
            self.pin = Pin(tls_sha256)
        except ValueError as error:
            raise PermanentError(
                f"{self.name}: the pinned fingerprint {tls_sha256!r} is not 64 hex digits",
                cure="correct bmc_tls_sha256 of the machine",
            ) from error
        self._username = username
        self._password = password
        self._base = URL.build(scheme="http" if plain else "https", host=endpoint.host, port=endpoint.port)
        self._session: aiohttp.ClientSession | None = None
        self._login: dict[str, str] = {}
        self._session_path = ""

    @property
    def name(self) -> str:
        """The BMC in messages."""
        return f"BMC {self.endpoint.host}:{self.endpoint.port}"

    def open(self, keep_alive: timedelta = KEEP_ALIVE) -> None:
        """Be ready for requests; nothing is sent yet."""
        self._login = {"Authorization": aiohttp.encode_basic_auth(self._username, self._password.get_secret_value())}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self.pin, limit=2, keepalive_timeout=keep_alive.total_seconds(), use_dns_cache=False
            ),
            timeout=aiohttp.ClientTimeout(total=self.limits.request.total_seconds()),
            headers={"Accept": "application/json", "OData-Version": "4.0"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """End the Redfish session if there is one, and all connections."""
        if self._session is None:
            return
        try:
            if self._session_path:
                await self.send("DELETE", self._session_path, attempts=1)
        except (PermanentError, TemporaryError):
            pass
        finally:
            await self._session.close()
            self._session = None

    async def log_in(self, sessions_path: str) -> None:
        """Use a session token from now on."""
        body = {"UserName": self._username, "Password": self._password.get_secret_value()}
        answer = await self.send("POST", sessions_path, body)
        token = answer.headers.get("x-auth-token", "")
        if not token:
            raise PermanentError(f"{self.name} opens sessions without a token", cure="update the BMC's firmware")
        self._login = {"X-Auth-Token": token}
        self._session_path = URL(answer.headers.get("location", "")).path

    @asynccontextmanager
    async def within(self, what: str) -> AsyncIterator[None]:
        """Bound an operation of several requests by the total limit."""
        seconds = self.limits.total.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise TemporaryError(
                f"{self.name}: to {what} took longer than {seconds:g} s",
                cure="look at the BMC's load and its network, or restart the BMC; then run again",
            ) from error

    async def get(self, path: str) -> Answer:
        """A resource."""
        return await self.send("GET", path)

    async def send(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        if_match: str = "",
        attempts: int | None = None,
    ) -> Answer:
        """The accepted answer. What may pass (no answer, late, overloaded, cut short) is tried again.

        Raises:
            TemporaryError: it did not pass within the attempts.
            PermanentError: the BMC refused, or is not the one that is pinned.
        """
        attempt, late = 0, 0
        while True:
            try:
                return await self._once(method, path, body, if_match)
            except TemporaryError as error:
                attempt += 1
                late += isinstance(error, LateError)
                if attempt >= (attempts or self.limits.attempts) or late >= self.limits.late_attempts:
                    raise
            await asyncio.sleep(self.limits.pause.total_seconds() * 2 ** (attempt - 1))

    async def _once(self, method: str, path: str, body: Document | None, if_match: str) -> Answer:
        assert self._session is not None, "the BMC is used outside its block"
        headers = dict(self._login)
        if if_match:
            headers["If-Match"] = if_match
        url = URL(f"{self._base}{path}", encoded=True)
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, allow_redirects=False
            ) as response:
                raw = await self._read(response)
        except aiohttp.ServerFingerprintMismatch as error:
            raise self._stranger(error) from error
        except TimeoutError as error:
            raise LateError(
                f"{self.name} did not answer {method} {path} within {self.limits.request.total_seconds():g} s",
                cure="check that the BMC has power and network; restart it if it hangs; then run again",
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TemporaryError(
                f"{self.name} cannot be reached: {error or type(error).__name__}",
                cure="check its address, power and network, then run again",
            ) from error
        self._judge(method, path, response.status, raw)
        return Answer(
            document=self._parse(method, path, raw, response.headers.get("Content-Type", "")),
            etag=response.headers.get("ETag", ""),
            headers={key.lower(): value for key, value in response.headers.items()},
        )

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                raise PermanentError(
                    f"{self.name} sends a body of more than {MAX_BODY_BYTES >> 20} MiB",
                    cure="check that the address is a BMC's; update its firmware",
                )
        return bytes(raw)

    def _stranger(self, error: aiohttp.ServerFingerprintMismatch) -> PermanentError:
        return PermanentError(
            f"{self.name} shows the certificate {error.got.hex()}, pinned is {error.expected.hex()}",
            cure="if its certificate was renewed on purpose, set bmc_tls_sha256 of the machine to the new fingerprint; "
            "otherwise find out what stands between you and the BMC",
        )

    def _judge(self, method: str, path: str, status: int, raw: bytes) -> None:
        """Raise unless the status means success."""
        if 200 <= status < 300:
            return
        said = _reason(raw)
        text = f"{self.name} answers {method} {path} with HTTP {status}" + (f": {said}" if said else "")
        if status in RETRIED:
            raise TemporaryError(text, cure="wait until the BMC is ready, or restart it; then run again")
        if status in (401, 403):
            raise PermanentError(
                f"{self.name} refuses the credentials of {self._username!r} (HTTP {status})",
                cure="put the right password into the site's BMC secret, or set it on the BMC",
            )
        raise PermanentError(text, cure="compare the request with the BMC's manual; its quirks may need a new row")

    def _parse(self, method: str, path: str, raw: bytes, content_type: str) -> Document:
        if not raw or not ("json" in content_type or raw[:1] == b"{"):
            return {}
        try:
            value = json.loads(raw)
        except ValueError as error:
            raise self._garbage(method, path) from error
        if not isinstance(value, dict):
            raise self._garbage(method, path)
        return value

    def _garbage(self, method: str, path: str) -> TemporaryError:
        return TemporaryError(
            f"{self.name} answers {method} {path} with something that is not a JSON object",
            cure="restart the BMC; if it stays so, update its firmware",
        )


def _reason(raw: bytes) -> str:
    """What a Redfish error body says, shortened."""
    try:
        error = json.loads(raw)["error"]
        details = error.get("@Message.ExtendedInfo") or [{}]
        return str(details[0].get("Message") or error.get("message") or "")[:300]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return ""
