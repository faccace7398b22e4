"""A small HTTP service for rollouts over real processes: ``rollout_service.py DESCRIPTOR VERSION BEHAVIOUR``.

The descriptor is of a socket that listens: nobody else can have its port before this process is there.
``/health`` is its contract, ``/smoke`` is what a smoke test asks, ``/memory`` what it has taken, all else is for users.
"""

import contextlib
import socket
import sys

DESCRIPTOR, VERSION, BEHAVIOUR = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def main() -> None:
    """Serve, one request after another, until the process is ended."""
    if BEHAVIOUR == "crashes":
        sys.exit(3)
    memory = 0
    with socket.socket(fileno=DESCRIPTOR) as server:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                path = connection.recv(4096).split(b" ")[1].decode()
                bad = (BEHAVIOUR == "errs" and path == "/") or (BEHAVIOUR == "fails-smoke" and path == "/smoke")
                memory += 40 if BEHAVIOUR == "leaks" and path == "/" else 0
                said = str(memory) if path == "/memory" else VERSION
                status = "500 Broken" if bad else "200 OK"
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n"
                connection.sendall((head + said).encode())


main()
