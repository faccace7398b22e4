"""What is asked of Prometheus and what its answers mean; a real one is asked in the lab (tests/e2e/test_up_lab.py)."""

import asyncio
import json
import math
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from pachon.drivers import pki, prometheus
from pachon.drivers.prometheus import Prometheus
from pachon.drivers.ssh import Host
from pachon.errors import PachonError, PermanentError, TemporaryError, UsageError
from tests.doors import certify, free_port, here

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def answering(answer: Mapping[str, Any]) -> Prometheus:
    """A Prometheus whose host answers so."""

    class Answering:
        async def run_program(self, *_: object, **__: object) -> dict[str, Any]:
            return dict(answer)

    async def opened() -> Host:
        return cast("Host", Answering())

    return Prometheus("base-adm01", opened, address="198.18.10.12")


def good(kind: str, result: Any) -> dict[str, Any]:
    return {"status": 200, "body": json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})}


def bad(status: int, kind: str, error: str) -> dict[str, Any]:
    return {"status": status, "body": json.dumps({"status": "error", "errorType": kind, "error": error})}


def test_a_vector_is_read_with_labels_moments_and_values_that_are_no_numbers() -> None:
    rows = [{"metric": {"job": "a"}, "value": [1795867200, "1.5"]}, {"metric": {}, "value": [1795867200.5, "NaN"]}]
    first, second = asyncio.run(answering(good("vector", rows)).instant("up"))
    assert (first.labels, first.value, first.at) == ({"job": "a"}, 1.5, NOON)
    assert math.isnan(second.value)


def test_a_scalar_is_a_value_without_labels_and_no_match_is_nothing() -> None:
    (only,) = asyncio.run(answering(good("scalar", [1795867200, "2"])).instant("1+1"))
    assert (only.labels, only.value) == ({}, 2.0)
    assert asyncio.run(answering(good("vector", [])).instant("nobody")) == ()


def test_series_are_read_oldest_first() -> None:
    rows = [{"metric": {"job": "a"}, "values": [[1795867200, "1"], [1795867205, "+Inf"]]}]
    (series,) = asyncio.run(answering(good("matrix", rows)).over("up", begin=NOON, end=NOON, step=timedelta(seconds=5)))
    assert series.points == ((NOON, 1.0), (NOON + timedelta(seconds=5), math.inf))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (bad(400, "bad_data", "1:5: parse error"), UsageError, "1:5: parse error"),
        (bad(422, "execution", "many-to-many matching"), PermanentError, "many-to-many matching"),
        (bad(503, "timeout", "query timed out"), TemporaryError, "query timed out"),
        ({"status": 413, "body": ""}, UsageError, "too large"),
        ({"status": 200, "body": "<html>"}, PermanentError, "status 200"),
        ({"status": 200, "body": '{"status": "success", "data": null}'}, PermanentError, "status 200"),
        (good("matrix", []), UsageError, "not values at one moment"),
        ({"away": "[Errno 111] Connection refused"}, TemporaryError, "Connection refused"),
        ({"distrusted": "certificate has expired"}, PermanentError, "certificate has expired"),
    ],
)
def test_what_goes_wrong_says_what_and_what_to_do(answer: dict[str, Any], kind: type[PachonError], words: str) -> None:
    with pytest.raises(kind) as failed:
        asyncio.run(answering(answer).instant("up"))
    assert words in failed.value.message
    assert failed.value.cure


class Speaking(BaseHTTPRequestHandler):
    """Answers as Prometheus does, with the query as a label."""

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        result = [{"metric": {"asked": asked["query"][0], "path": self.path}, "value": [1795867200, "1"]}]
        body = str(good("vector", result)["body"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pki.ensure_site(tmp_path, "base")
    (tmp_path / "pki" / "trust.pem").write_text(pki.trust_bundle(tmp_path, ["base"]))
    certify(tmp_path, tmp_path / "pki" / "host.crt", "base-adm01.test", now=datetime.now(UTC))
    monkeypatch.setattr(prometheus, "PKI", str(tmp_path / "pki"))
    return tmp_path


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """Where somebody listens who shows ``shown.crt`` and wants to see a certificate."""
    certify(folder, folder / "shown.crt", "base-adm01.test", now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "shown.crt", folder / "shown.key")
    context.load_verify_locations(folder / "pki" / "trust.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), Speaking)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


def test_the_query_goes_with_the_host_s_certificate_and_comes_back(port: int) -> None:
    query = 'rate(x{a="b&c=d"}[5m]) > 0'
    (sample,) = asyncio.run(Prometheus("base-adm01", here, address="127.0.0.1", port=port).instant(query))
    assert (sample.labels["asked"], sample.labels["path"]) == (query, "/api/v1/query")


def test_a_certificate_that_has_ended_is_named(folder: Path) -> None:
    certify(folder, folder / "old.crt", "base-adm01.test", now=LONG_AGO)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "old.crt", folder / "old.key")
    server = HTTPServer(("127.0.0.1", 0), Speaking)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with pytest.raises(PermanentError, match="certificate has expired") as failed:
            asyncio.run(
                Prometheus("base-adm01", here, address="127.0.0.1", port=server.server_address[1]).instant("up")
            )
        assert "pachon up" in failed.value.cure
    finally:
        server.shutdown()
        server.server_close()


def test_whoever_does_not_speak_tls_is_away_and_not_distrusted(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            link, _ = server.accept()
            with link:
                link.recv(4096)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(TemporaryError, match="does not answer"):
            asked = Prometheus("base-adm01", here, address="127.0.0.1", port=server.getsockname()[1])
            asyncio.run(asked.instant("up"))


def test_nobody_there_is_temporary(folder: Path) -> None:
    with pytest.raises(TemporaryError, match="Connection refused"):
        asyncio.run(Prometheus("base-adm01", here, address="127.0.0.1", port=free_port()).instant("up"))
