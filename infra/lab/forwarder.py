"""A wide-area link of a lab as a process: ``python -m infra.lab.forwarder SPEC``, started in the WAN's namespace.

Moves frames between two interfaces and holds each for the link's delay, at the link's rate. Frames come and go with
the kernel's note of unfinished checksums and of segments to be cut (PACKET_VNET_HDR), so senders' offloads may stay on
and one call moves up to 64 KiB. Nothing to carry costs nothing: it sleeps until a frame comes or is due.
"""

import contextlib
import dataclasses
import errno
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from infra.lab import alive, cgroups
from pachon.errors import PachonError

QUEUE_SECONDS = 0.05
"""What waits longer than this for its turn is dropped, as by a router with a buffer of that length."""
REST_SECONDS = 0.001
"""Between two rounds of moving frames, so that they are moved many at a time; delays grow by at most so much."""
ROUND_FRAMES = 512
NICENESS = -15
"""A link that waits for a busy processor would be a slower one."""
RECEIVE_BYTES = 16 << 20
HEADER = struct.Struct("<BBHHHH")
"""virtio_net_hdr: flags, kind of segments, length of their headers, bytes of data in each, checksum's start, offset."""

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_SO_RCVBUFFORCE = 33
_LARGEST = HEADER.size + 14 + 65536


@dataclass(frozen=True)
class LinkSpec:
    """What the process of a link has to know, as a file."""

    facility: str
    name: str
    sites: tuple[str, str]
    ends: tuple[str, str]
    """Interfaces in the WAN's namespace, one for each of ``sites``."""
    rate_mbps: int
    delay_ms: int
    """One way."""


def save(path: Path, spec: LinkSpec) -> None:
    """Write the spec, whole or not at all."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(dataclasses.asdict(spec), indent=1))
    partial.replace(path)


def load(path: Path) -> LinkSpec:
    """The spec in the file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    raw = json.loads(path.read_bytes())
    try:
        return LinkSpec(**raw | {"sites": tuple(raw["sites"]), "ends": tuple(raw["ends"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def lock_path(path: Path) -> Path:
    """The file whose lock the process of that spec holds while it lives."""
    return path.with_suffix(".lock")


def bytes_on_wire(frame: bytes) -> int:
    """Bytes of the frame, with its kernel header, once it is cut into the segments that it stands for."""
    kind: int
    head: int
    size: int
    _, kind, head, size, _, _ = HEADER.unpack_from(frame)
    whole = len(frame) - HEADER.size
    segments = -(-(whole - head) // size) if kind and size and whole > head else 1
    return whole + (segments - 1) * head


@dataclass
class Direction:
    """Frames on their way to one end; time comes in as a value."""

    rate_mbps: int
    delay_seconds: float
    dropped: int = 0
    _free_at: float = 0.0
    _under_way: deque[tuple[float, bytes]] = field(default_factory=deque)

    def put(self, frame: bytes, now: float) -> bool:
        """Whether the frame is on its way; it is dropped where too much waits already."""
        start = max(now, self._free_at)
        if start - now > QUEUE_SECONDS:
            self.dropped += 1
            return False
        self._free_at = start + bytes_on_wire(frame) * 8 / (self.rate_mbps * 1e6)
        self._under_way.append((self._free_at + self.delay_seconds, frame))
        return True

    def next_at(self) -> float | None:
        """When the next frame arrives; None if there is none."""
        return self._under_way[0][0] if self._under_way else None

    def arrived(self, now: float) -> bytes | None:
        """The next frame that has arrived by now."""
        if self._under_way and self._under_way[0][0] <= now:
            return self._under_way.popleft()[1]
        return None


def open_end(interface: str) -> socket.socket:
    """A socket that gets every frame that comes in at the interface, and none that we send there.

    Raises:
        OSError: there is no such interface.
    """
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BYTES)
    end.bind((interface, _ETH_P_ALL))
    end.setblocking(False)
    return end


def _take_in(end: socket.socket, direction: Direction, now: float) -> None:
    """Put what has come in at the end on its way; not for ever, the other end wants its turn."""
    for _ in range(ROUND_FRAMES):
        try:
            frame = end.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            return  # told once when the end goes down: the link is cut
        if len(frame) > HEADER.size:
            direction.put(frame, now)


def _hand_out(end: socket.socket, direction: Direction, now: float) -> None:
    """Hand the frames that have arrived to the end; they are lost where it is down or its buffer is full."""
    while (frame := direction.arrived(now)) is not None:
        with contextlib.suppress(OSError):
            end.send(frame)


def carry(interfaces: tuple[str, str], *, rate_mbps: int, delay_seconds: float, ready: Callable[[], None]) -> None:
    """Carry frames both ways for ever; ``ready`` is called when it begins. An end may go down and up again.

    Raises:
        OSError: there is no such interface.
    """
    ends = [open_end(interface) for interface in interfaces]
    ways = [Direction(rate_mbps, delay_seconds) for _ in ends]  # the way into ends[n] is ways[n]
    ready()
    while True:
        due = [at for way in ways if (at := way.next_at()) is not None]
        heard, _, _ = select.select(ends, [], [], max(0.0, min(due) - time.monotonic()) if due else None)
        now = time.monotonic()
        for here, there in ((0, 1), (1, 0)):
            if ends[here] in heard:
                _take_in(ends[here], ways[there], now)
            _hand_out(ends[here], ways[here], now)
        time.sleep(REST_SECONDS)


def main(path: Path, report: int) -> int:
    """Carry until killed; "on" is written to the descriptor ``report`` when it does, or what is wrong."""

    def tell(text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(report, text.encode())
            os.close(report)

    try:
        spec = load(path)
        cgroups.link(spec.facility, spec.name).join()
        with contextlib.suppress(OSError):
            os.nice(NICENESS)
        if not alive.hold(lock_path(path)):
            tell("on")
            return 0
        carry(spec.ends, rate_mbps=spec.rate_mbps, delay_seconds=spec.delay_ms / 1000, ready=lambda: tell("on"))
    except (PachonError, OSError, ValueError) as error:
        tell(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
