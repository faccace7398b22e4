"""What carries a connection on a host: bytes go both ways whole, and it ends when either side does."""

import socket
import subprocess
import sys
import threading

import pytest

from pachon.drivers.relay import PROGRAM

PATIENCE_SECONDS = 60.0
LARGE = bytes(range(256)) * 8192


@pytest.fixture
def server() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.settimeout(PATIENCE_SECONDS)
    return made


def relay(server: socket.socket) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", PROGRAM, str(server.getsockname()[1])]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def read(wire: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := wire.recv(1 << 16)):
        found += piece
    return found


def test_bytes_go_both_ways_and_it_ends_with_whoever_asked(server: socket.socket) -> None:
    process = relay(server)
    assert process.stdin is not None
    assert process.stdout is not None
    wire, _ = server.accept()
    answering = threading.Thread(target=lambda: wire.sendall(read(wire, len(LARGE))))
    answering.start()
    asking = threading.Thread(target=lambda: (process.stdin.write(LARGE), process.stdin.flush()))  # type: ignore[union-attr]  # asserted above
    asking.start()
    assert process.stdout.read(len(LARGE)) == LARGE
    asking.join()
    answering.join()
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0
    process.stdout.close()
    wire.close()
    server.close()


def test_it_ends_with_the_server(server: socket.socket) -> None:
    process = relay(server)
    wire, _ = server.accept()
    wire.sendall(b"bye")
    wire.close()
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.read() == b"bye"
    assert process.wait(PATIENCE_SECONDS) == 0
    process.stdin.close()
    process.stdout.close()
    server.close()
