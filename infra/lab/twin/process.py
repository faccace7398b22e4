"""The process of a twin: ``python -m infra.lab.twin.process CONFIG FD``. All BMCs and SSH endpoints of a facility.

It listens on the loopback interface only. It may be killed at any time; the next ``up`` starts it again, and machines
are as they were.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from infra.lab import alive
from infra.lab.bmc.certificate import ensure_certificate
from infra.lab.twin.addresses import loopback
from pachon.errors import PachonError, PermanentError
from pachon.model.base import Frozen
from pachon.model.facility import Machine, SiteName

USER = "pachon"
EVERYWHERE = "0.0.0.0"
"""Of the loopback interface, to which the sockets are confined."""


class SiteConfig(Frozen):
    """One site of a twin."""

    name: SiteName
    machines: tuple[Machine, ...]
    password_file: Path
    bmc_port: int


class TwinConfig(Frozen):
    """What a twin's process has to know."""

    facility: str
    folder: Path
    """Folder of the machines' folders, and of the BMCs' certificate."""
    sites: tuple[SiteConfig, ...]
    ssh_port: int


def save(config: TwinConfig, path: Path) -> None:
    """The file holds this, or what it held before."""
    new = path.with_suffix(".new")
    new.write_text(config.model_dump_json())
    new.replace(path)


def lock_path(config_path: Path) -> Path:
    """The file whose lock the process holds while it lives."""
    return config_path.with_suffix(".lock")


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that takes connections to every loopback address on this port (0: a free one).

    Raises:
        PermanentError: the port is taken.
    """
    from infra.lab.bmc.server import confine

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        confine(listener, "lo")
        try:
            listener.bind((EVERYWHERE, port))
        except OSError as error:
            raise PermanentError(
                f"the twin cannot listen on port {port}: {error.strerror}", cure="see who does: ss -ltnp"
            ) from error
        listener.listen(4096)
        listener.setblocking(False)
        yield listener


async def serve(config: TwinConfig, path: Path, report: int) -> None:
    """Serve until SIGTERM; "on" is written to ``report`` when everything listens.

    Where somebody has a port already another is taken; ``path`` then says which.
    """
    from infra.lab.bmc.server import serving
    from infra.lab.twin.machines import TwinHardware
    from infra.lab.twin.ssh_door import SshDoor

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    machines = tuple(machine for site in config.sites for machine in site.machines)
    tls = ensure_certificate(config.folder, now=datetime.now(UTC))
    async with AsyncExitStack() as stack:
        hardware = TwinHardware(machines, config.folder)
        serials = {loopback(machine.management_address): machine.serial for machine in machines}
        door = SshDoor(hardware, config.folder, serials)
        hardware.when_stopped(door.hang_up)
        stack.push_async_callback(hardware.close)
        sites: list[SiteConfig] = []
        for site in config.sites:
            bmcs = partial(
                serving,
                hardware,
                config.folder,
                bind=EVERYWHERE,
                device="lo",
                tls=tls,
                users={USER: SecretStr(site.password_file.read_text().strip())},
                addresses={loopback(machine.bmc_address): machine.serial for machine in site.machines},
                # The boot service knows no mapped BMC addresses; it lets the machine itself fetch its medium as well.
                media_sources={machine.serial: loopback(machine.management_address) for machine in site.machines},
            )
            try:
                port = await stack.enter_async_context(bmcs(port=site.bmc_port))
            except PermanentError:
                port = await stack.enter_async_context(bmcs(port=0))
            sites.append(site.model_copy(update={"bmc_port": port}))
        try:
            listener = stack.enter_context(listening(config.ssh_port))
        except PermanentError:
            listener = stack.enter_context(listening(0))
        task = asyncio.create_task(door.serve(listener))
        stack.callback(door.close)
        stack.callback(task.cancel)
        ssh_port = int(listener.getsockname()[1])
        save(config.model_copy(update={"sites": tuple(sites), "ssh_port": ssh_port}), path)
        os.write(report, b"on")
        os.close(report)
        await stop.wait()


def main(config_path: Path, report: int) -> int:
    """Exit status of the process."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    try:
        config = TwinConfig.model_validate_json(config_path.read_bytes())
        if not alive.hold(lock_path(config_path)):
            os.write(report, b"on")
            return 0
        asyncio.run(serve(config, config_path, report))
    except (PachonError, OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            os.write(report, f"failed: {error}".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
