"""``python -m infra.boot.service --config FILE``: one boot service of one site, until it is told to stop.

Hidden here: its sockets, its TLS key, its dnsmasq, and that only one of it runs in a folder.
"""

import argparse
import asyncio
import fcntl
import hashlib
import json
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.boot import admin_api, ca, dhcp, machine_api
from infra.boot.desk import Desk, log
from infra.boot.orders import Settings
from pachon.errors import PachonError, RefusedError
from pachon.processes.sockets import short_path

SILENCE_LOOK_SECONDS = 0.5
TLS_DAYS = 3650


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Desk]:
    """The service, listening; stopped at the end.

    Raises:
        RefusedError: another one runs in the same folder.
    """
    async with AsyncExitStack() as stack:
        folder = settings.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _only_one(folder, stack)
        context, pin = tls(folder)
        desk = Desk(settings, pin=pin, monotonic=asyncio.get_running_loop().time)
        bind = str(settings.bind_address)
        secure = await _runner(machine_api.secure(desk), stack)
        await web.TCPSite(secure, bind, settings.https_port, ssl_context=context, reuse_address=True).start()
        plain = await _runner(machine_api.plain(desk), stack)
        await web.TCPSite(plain, bind, settings.http_port, reuse_address=True).start()
        if settings.dhcp:
            _background(dhcp.serve(settings, said=lambda line: log.info("dhcp: %s", line)), stack)
        _background(_watch(desk), stack)
        admin = await _runner(admin_api.admin(desk), stack)
        path = folder / "admin.sock"
        path.unlink(missing_ok=True)
        socket_path = stack.enter_context(short_path(path))
        await web.UnixSite(admin, socket_path).start()
        path.chmod(0o600)
        ca.write(folder / "service.json", json.dumps({"pid": os.getpid(), "settings": settings.digest}))
        log.info("boot service of %s/%s listens on %s", settings.facility, settings.site, bind)
        yield desk


def tls(folder: Path) -> tuple[ssl.SSLContext, str]:
    """The service's TLS context and the pin of its certificate, made once per folder."""
    certificate_path, key_path = folder / "tls.crt", folder / "tls.key"
    if not (certificate_path.exists() and key_path.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pachon boot service")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=TLS_DAYS))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        ca.write(key_path, private)
        ca.write(certificate_path, certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_path, key_path)
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate_path.read_text())).hexdigest()
    return context, pin


def _only_one(folder: Path, stack: AsyncExitStack) -> None:
    lock = stack.enter_context((folder / "lock").open("a"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RefusedError(
            f"another boot service runs in {folder}", cure="stop that one first; service.json has its pid"
        ) from error


async def _runner(application: web.Application, stack: AsyncExitStack) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


def _background(work: object, stack: AsyncExitStack) -> None:
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]  # a coroutine of either kind

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def failed(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("ended by an error: %s", error)
            os.kill(os.getpid(), signal.SIGTERM)

    task.add_done_callback(failed)
    stack.push_async_callback(end)


async def _watch(desk: Desk) -> None:
    while True:
        await asyncio.sleep(SILENCE_LOOK_SECONDS)
        desk.look_for_silence()


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings):
        await stop.wait()


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the program."""
    parser = argparse.ArgumentParser(prog="python -m infra.boot.service", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="settings, a JSON file (infra/boot/orders.py)")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    logging.getLogger("aiohttp.access").disabled = True
    try:
        asyncio.run(serve(Settings.model_validate_json(chosen.config.read_text())))
    except PachonError as error:
        log.error("%s", error)
        return int(error.exit_code)
    except OSError as error:
        log.error("cannot listen: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
