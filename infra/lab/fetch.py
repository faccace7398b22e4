"""Gets a boot file over HTTP as UEFI firmware does: HEAD for its size, then GET, from the machine's own network."""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 20.0
_CHUNK_BYTES = 1 << 20


class FetchError(Exception):
    """The file cannot be had; the message is what the console shows."""


def fetch(uri: str, target: Path) -> int:
    """Bytes written to ``target`` from a plain-HTTP address.

    Raises:
        FetchError: refused, not there, cut off, or not an HTTP address.
    """
    parts = urlsplit(uri)
    if parts.scheme != "http" or not parts.hostname:
        raise FetchError("the boot address is not http://…")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("HEAD", path or "/")
        head = connection.getresponse()
        head.read()
        if head.status != 200:
            raise FetchError(f"the server answers {head.status} {head.reason}")
        connection.request("GET", path or "/")
        answer = connection.getresponse()
        if answer.status != 200:
            raise FetchError(f"the server answers {answer.status} {answer.reason}")
        total = 0
        with target.open("wb") as file:
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                total += len(chunk)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    said = head.getheader("Content-Length")
    if said is not None and total != int(said):
        raise FetchError(f"{total} of {said} bytes came")
    return total
