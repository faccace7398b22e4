"""The image: streamed, unpacked, checked by digest and written where it belongs."""

import contextlib
import fcntl
import hashlib
import http.client
import os
import subprocess
import threading
import time
from collections.abc import Iterator

from .console import PassingError, TroubleError, say
from .disk import empty
from .machine import Facts
from .server import Server, download

CHUNK = 1 << 20
ZERO = bytes(CHUNK)
F_SETPIPE_SZ = 1031
IMAGE_TRIES = 4


def write_image(image: Facts, node: str, server: Server) -> None:
    """The image on this device, checked by digest."""
    for attempt in range(1, IMAGE_TRIES + 1):
        try:
            empty(node, image["raw_size_bytes"])
            with download(image["url"], server.patience * 5) as response:
                pour(response, image, node, server)
            return
        except PassingError as error:
            if attempt == IMAGE_TRIES:
                raise TroubleError(f"the image broke off {attempt} times, last: {error}", "network") from error
            say(f"image: {error}; starting it again")
            time.sleep(attempt)


class Unpacking:
    """A response being unpacked: iterate for the content, then ask what came of it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.total, self.got, self.broken = int(response.headers["Content-Length"]), 0, ""
        self._digest = hashlib.sha256()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(["zstd", "-dcq"], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._feeder = threading.Thread(target=self._feed, daemon=True)

    def _feed(self) -> None:
        assert self._process.stdin is not None
        try:
            while chunk := self._response.read(CHUNK // 4):
                self._digest.update(chunk)
                self.got += len(chunk)
                with contextlib.suppress(BrokenPipeError):  # it gave up; the digest is wanted all the same
                    self._process.stdin.write(chunk)
        except (OSError, http.client.HTTPException) as error:
            self.broken = f"{type(error).__name__}: {error}"
        if self.got != self.total:
            self.broken = self.broken or f"{self.got} of {self.total} bytes came"
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def __iter__(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._process.stdout, F_SETPIPE_SZ, CHUNK)
        self._feeder.start()
        try:
            while chunk := self._process.stdout.read(CHUNK):
                yield chunk
            self._feeder.join()
        except BaseException:
            self._process.kill()
            raise
        finally:
            self.status = self._process.wait()

    @property
    def digest(self) -> str:
        """Of what came."""
        return f"sha256:{self._digest.hexdigest()}"


def pour(response: http.client.HTTPResponse, image: Facts, node: str, server: Server) -> None:
    """Stream, unpack and write; wrong content raises TroubleError, a broken stream PassingError."""
    unpacking, size = Unpacking(response), 0
    with open(node, "r+b", buffering=0) as target:  # noqa: PTH123  a device node
        for chunk in unpacking:
            if chunk != ZERO[: len(chunk)]:
                target.seek(size)
                view = memoryview(chunk)
                while view:
                    view = view[target.write(view) :]
            size += len(chunk)
            server.moved("image", round(unpacking.got / unpacking.total, 3))
        os.fsync(target.fileno())
    if unpacking.broken:
        raise PassingError(unpacking.broken)
    if unpacking.digest != image["digest"]:
        raise TroubleError(f"the image has digest {unpacking.digest}, ordered was {image['digest']}", "image")
    if unpacking.status != 0 or size != image["raw_size_bytes"]:
        raise TroubleError(f"the image does not unpack: {size} bytes, status {unpacking.status}", "image")
