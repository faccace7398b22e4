"""A port of a host as a port of ours: each connection is carried over SSH by a small program on the host.

Hosts forward nothing by themselves (sshd's own forwarding is off everywhere but on bastions); what is carried stays
encrypted from end to end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncssh

from pachon.drivers.ssh import Host

PIECE = 1 << 16
PROGRAM = """\
import os, socket, sys, threading
port = int(sys.argv[1])
wire = socket.create_connection(("127.0.0.1", port))
def out():
    while piece := wire.recv(65536):
        view = memoryview(piece)
        while view:
            view = view[os.write(1, view):]
    os._exit(0)
threading.Thread(target=out, daemon=True).start()
while piece := os.read(0, 65536):
    wire.sendall(piece)
os._exit(0)
"""
"""Whoever has said its last word waits for none, so nothing is half closed."""


@contextlib.asynccontextmanager
async def listening(host: Host, port: int) -> AsyncIterator[int]:
    """A port on loopback, for us alone to connect to, that leads to that port of the host's loopback."""
    busy: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        try:
            await _carry(host, port, reader, writer)
        except (asyncssh.Error, OSError):
            pass  # whoever connected sees that it ended
        finally:
            busy.discard(task)
            writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(busy):
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def _carry(host: Host, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    argv = f"exec /usr/bin/python3 -c {_quoted(PROGRAM)} {port}"
    async with host.connection.create_process(argv, encoding=None, stderr=asyncssh.DEVNULL) as process:

        async def there() -> None:
            while piece := await reader.read(PIECE):
                process.stdin.write(piece)
                await process.stdin.drain()
            process.stdin.write_eof()

        async def back() -> None:
            while piece := await process.stdout.read(PIECE):
                writer.write(piece)
                await writer.drain()

        going = asyncio.create_task(there())
        try:
            await back()
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
