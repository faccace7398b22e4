"""The official way, against a server on loopback that serves, breaks off, lies or keeps silent."""

import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.toolchain import release
from infra.toolchain.programs import Release
from pachon.errors import PermanentError, TemporaryError
from pachon.progress import Event, silent


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves one body; each answer is cut after ``cut_bytes`` when that is set."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = body
        self.cut_bytes: int | None = None
        self.knows_ranges = True
        self.status = 200
        self.ranges: list[str | None] = []

    def release(self, *, sha256: str = "", folder: str = "tool") -> Release:
        url = f"http://127.0.0.1:{self.server_address[1]}/tool.tar.gz"
        return Release(url=url, sha256=sha256 or hashlib.sha256(self.body).hexdigest(), folder=folder)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.knows_ranges else 0
        if begin and begin >= len(self.server.body):
            self.send_error(416)
            return
        body = self.server.body[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.server.cut_bytes is None else body[: self.server.cut_bytes])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # named by the base class
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(archive({"tool/tool": b"#!/bin/sh\necho v1.2.3\n", "tool/sub/other": b"x", "else/no": b""}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_release_with_the_pinned_digest_is_brought_whole_and_told_of(server: Server, tmp_path: Path) -> None:
    events: list[Event] = []
    got = release.fetch(server.release(), folder=tmp_path, address="tool", progress=events.append)
    assert got.read_bytes() == server.body
    assert events[-1].fraction == 1.0


def test_a_release_with_another_digest_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="pinned is 00") as caught:
        release.fetch(server.release(sha256="00" * 32), folder=tmp_path, address="tool", progress=silent)
    assert caught.value.cure
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_broke_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut_bytes = 40
    with pytest.raises(TemporaryError, match="broke off") as caught:
        release.fetch(server.release(), folder=tmp_path, address="tool", progress=silent)
    assert "goes on" in caught.value.cure
    server.cut_bytes = None
    got = release.fetch(server.release(), folder=tmp_path, address="tool", progress=silent)
    assert got.read_bytes() == server.body
    assert server.ranges == [None, "bytes=40-"]


def test_a_server_that_knows_no_ranges_has_the_download_start_over(server: Server, tmp_path: Path) -> None:
    server.cut_bytes = 40
    with pytest.raises(TemporaryError):
        release.fetch(server.release(), folder=tmp_path, address="tool", progress=silent)
    server.cut_bytes, server.knows_ranges = None, False
    got = release.fetch(server.release(), folder=tmp_path, address="tool", progress=silent)
    assert got.read_bytes() == server.body


def test_a_download_killed_after_its_last_byte_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    pinned = server.release()
    (tmp_path / f"{pinned.sha256}.partial").write_bytes(server.body)
    got = release.fetch(pinned, folder=tmp_path, address="tool", progress=silent)
    assert got.read_bytes() == server.body


def test_what_was_left_of_another_file_is_refused_and_the_next_try_starts_afresh(
    server: Server, tmp_path: Path
) -> None:
    pinned = server.release()
    (tmp_path / f"{pinned.sha256}.partial").write_bytes(b"?" * (len(server.body) + 1))
    with pytest.raises(PermanentError, match="removed unused"):
        release.fetch(pinned, folder=tmp_path, address="tool", progress=silent)
    assert release.fetch(pinned, folder=tmp_path, address="tool", progress=silent).read_bytes() == server.body


def test_a_server_that_has_no_such_file_is_said(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(PermanentError, match="404"):
        release.fetch(server.release(), folder=tmp_path, address="tool", progress=silent)


def test_an_address_where_nobody_listens_is_said_at_once(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = Release(url=f"http://127.0.0.1:{unused.getsockname()[1]}/x", sha256="00" * 32, folder="")
        with pytest.raises(TemporaryError, match="does not answer"):
            release.fetch(nowhere, folder=tmp_path, address="tool", progress=silent)


def test_an_address_that_keeps_silent_is_given_up_soon(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def hang(*args: object, **kwargs: object) -> socket.socket:
        over.wait(60)
        raise OSError("never")

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(release, "ANSWER_SECONDS", 0.1)
    with pytest.raises(TemporaryError, match="does not answer within"):
        release.fetch(server.release(), folder=tmp_path, address="tool", progress=silent)
    over.set()


def test_only_the_files_of_the_release_folder_are_unpacked(server: Server, tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(server.body)
    release.unpack(packed, server.release(), into=tmp_path / "out")
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names == ["sub/other", "tool"]


@pytest.mark.parametrize("name", ["tool/../../evil", "/tool/evil"])
def test_an_archive_that_reaches_outside_of_itself_changes_nothing_there(name: str, tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(archive({name: b"x"}))
    pinned = Release(url="", sha256="", folder="tool" if name.startswith("tool") else "/tool")
    with pytest.raises(PermanentError, match="outside"):
        release.unpack(packed, pinned, into=tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil"))


def test_a_broken_archive_is_said(tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(b"<html>log in first</html>")
    with pytest.raises(PermanentError, match="cannot be unpacked"):
        release.unpack(packed, Release(url="", sha256="", folder="tool"), into=tmp_path / "out")
