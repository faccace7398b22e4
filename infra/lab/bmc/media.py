"""Virtual media: the BMC fetches the image itself and keeps a copy of its own, as real ones do."""

import asyncio
import ssl
from pathlib import Path

import aiohttp

from infra.lab.bmc.problems import RefusalError
from pachon.model.facility import Serial

MAX_BYTES = 1 << 30
FETCH_SECONDS = 120


def medium_path(folder: Path, serial: Serial) -> Path:
    """Where the BMC keeps its copy."""
    return folder / serial / "media.img"


async def fetch(folder: Path, serial: Serial, uri: str, *, source: str) -> Path:
    """The BMC's copy of the image at ``uri``, asked for from its own address ``source``.

    Certificates are not checked, as on most BMCs.

    Raises:
        RefusalError: the image cannot be had, or is too large.
    """
    target = medium_path(folder, serial)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(local_addr=(source, 0), ssl=context),
                timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS),
            ) as session,
            session.get(uri, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise _cannot(uri, f"HTTP {answer.status}")
            await _keep(answer, partial, uri)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _cannot(uri, str(error) or type(error).__name__) from error
    finally:
        if partial.exists():
            partial.unlink()
    return target


async def _keep(answer: aiohttp.ClientResponse, partial: Path, uri: str) -> None:
    total = 0
    with partial.open("wb") as file:
        async for chunk in answer.content.iter_chunked(1 << 18):
            total += len(chunk)
            if total > MAX_BYTES:
                raise _cannot(uri, f"it is larger than {MAX_BYTES >> 20} MiB")
            await asyncio.to_thread(file.write, chunk)
    partial.replace(partial.with_suffix(".img"))


def _cannot(uri: str, why: str) -> RefusalError:
    return RefusalError(
        400,
        "ResourceAtUriUnauthorized" if "401" in why or "403" in why else "CouldNotEstablishConnection",
        f"The service cannot get the image at '{uri}': {why}.",
        cure="Check that the URI is right and can be reached from the BMC.",
    )
