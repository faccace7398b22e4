"""DHCP for the boot NICs of one site: a dnsmasq that knows the machines of the tables and answers nobody else.

It gives each known MAC its management address and, to UEFI HTTP boot, an address without a token: the token comes
through the BMC only, so a copied MAC gets an address and nothing else.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from infra.boot.orders import Settings
from pachon.errors import MissingError

_log = logging.getLogger(__name__)


def configuration(settings: Settings) -> str:
    """Text of dnsmasq's configuration file."""
    network = settings.management
    url = f"http://{settings.boot_address}:{settings.http_port}/deploy/ask-your-bmc/deploy.efi"
    lines = [
        "port=0",
        "bind-interfaces",
        f"listen-address={settings.boot_address}",
        "user=root",
        "no-ping",
        "no-resolv",
        "no-hosts",
        "dhcp-authoritative",
        "dhcp-ignore=tag:!known",
        f"dhcp-range={network.network_address},static,{network.netmask},1h",
        f"dhcp-option=option:router,{network[1]}",
        "dhcp-option=option:dns-server",
        "dhcp-vendorclass=set:httpboot,HTTPClient",
        "dhcp-option-force=tag:httpboot,60,HTTPClient",
        f"dhcp-option-force=tag:httpboot,option:bootfile-name,{url}",
        f"dhcp-leasefile={settings.folder / 'leases'}",
        "pid-file=",
        *(f"dhcp-host={machine.mac},{machine.address}" for machine in settings.machines),
    ]
    return "\n".join(lines) + "\n"


async def serve(settings: Settings, *, said: Callable[[str], None]) -> None:
    """Keep dnsmasq running until cancelled; it dies with this process, however that ends.

    Raises:
        MissingError: there is no dnsmasq on this machine.
    """
    dnsmasq = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin")
    if dnsmasq is None:
        raise MissingError("there is no program 'dnsmasq'", cure="install the package dnsmasq-base")
    path = settings.folder / "dnsmasq.conf"
    path.write_text(configuration(settings))
    argv = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        dnsmasq,
        "--keep-in-foreground",
        "--log-facility=-",
        f"--conf-file={path}",
    ]
    pause_seconds = 0.2
    while True:
        process = await _start(argv)
        try:
            status = await _listen(process, said)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        said(f"dnsmasq ended with status {status}; starting it again")
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, 10.0)


async def _start(argv: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=Path("/"),
    )


async def _listen(process: asyncio.subprocess.Process, said: Callable[[str], None]) -> int:
    while process.stdout is not None and (line := await process.stdout.readline()):
        said(line.decode(errors="replace").rstrip())
    return await process.wait()
