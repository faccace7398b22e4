"""The official way: an archive from the makers of a program, trusted for its SHA-256 alone.

What arrived of an archive is kept under its digest, so an interrupted download goes on where it stopped.
"""

import hashlib
import http.client
import shutil
import socket
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO

from infra.toolchain.programs import Release
from pachon.errors import PermanentError, TemporaryError
from pachon.progress import Event, Progress

ANSWER_SECONDS = 5.0
"""An address that has not taken a connection by then is taken for unreachable."""
SILENCE_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
USER_AGENT = "pachon-toolchain"


def fetch(release: Release, *, folder: Path, address: str, progress: Progress) -> Path:
    """The whole archive, verified, as a file in ``folder``.

    Raises:
        TemporaryError: the address does not answer or broke off; what arrived is kept for the next try.
        PermanentError: it answers with something else than the pinned archive; that has been removed.
    """
    whole = folder / f"{release.sha256}.archive"
    if whole.exists():
        return whole
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{release.sha256}.partial"
    host = urllib.parse.urlsplit(release.url).netloc
    _knock(release.url)
    try:
        _download(release.url, partial, address=address, progress=progress)
    except urllib.error.HTTPError as error:
        raise PermanentError(f"{host} answers {error.code} {error.reason} for {release.url}") from error
    except (OSError, http.client.HTTPException) as error:
        raise TemporaryError(
            f"{host} broke off: {error}", cure="run again: the download goes on where it stopped"
        ) from error
    got = _digest(partial)
    if got != release.sha256:
        partial.unlink()
        raise PermanentError(
            f"{release.url} has SHA-256 {got}, pinned is {release.sha256}; it was removed unused",
            cure="find out who answers there; pin another digest in programs.toml only if the makers publish it",
        )
    partial.replace(whole)
    return whole


def unpack(archive: Path, release: Release, *, into: Path) -> None:
    """Fill ``into`` with the plain files under the release's folder of the archive.

    Raises:
        PermanentError: the archive cannot be read or names a place outside of it.
    """
    prefix = PurePosixPath(release.folder)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if not member.isfile() or not name.is_relative_to(prefix):
                    continue
                if name.is_absolute() or ".." in name.parts:
                    raise PermanentError(f"{archive.name} holds {member.name}, which lies outside of it")
                target = into / name.relative_to(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None
                with target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PermanentError(f"{archive.name} cannot be unpacked: {error}", cure="remove it and run again") from error


def _knock(url: str) -> None:
    """Return once the server (or the proxy before it) takes a connection, or raise soon."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    outcome: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    # In a thread of its own: looking the name up obeys no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not outcome:
        raise TemporaryError(f"{host} does not answer within {ANSWER_SECONDS:g} s", cure="run again with a network")
    if error := outcome[0]:
        raise TemporaryError(f"{host} does not answer ({error})", cure="run again with a network") from error


def _download(url: str, partial: Path, *, address: str, progress: Progress) -> None:
    """Bring what ``partial`` lacks of the file at ``url``."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as answer:
            resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            have = have if resumed else 0
            length = int(answer.headers.get("Content-Length") or 0)
            with partial.open("ab" if resumed else "wb") as sink:
                _copy(answer, sink, have, have + length, address=address, progress=progress)
    except urllib.error.HTTPError as error:
        # All of it is there already (its digest decides), or it is longer than the archive (and will be removed).
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise


def _copy(
    source: IO[bytes], sink: IO[bytes], have_bytes: int, total_bytes: int, *, address: str, progress: Progress
) -> None:
    resumed = f", going on from {have_bytes >> 20} MiB" if have_bytes else ""
    while chunk := source.read(CHUNK_BYTES):
        sink.write(chunk)
        have_bytes += len(chunk)
        progress(
            Event(
                stage="toolchain",
                address=address,
                state="moving",
                message=f"downloading the official release{resumed}: {have_bytes >> 20} MiB",
                fraction=have_bytes / total_bytes if total_bytes else None,
            )
        )
    if have_bytes < total_bytes:
        raise http.client.IncompleteRead(b"", total_bytes - have_bytes)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
