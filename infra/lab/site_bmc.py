"""The process that serves all BMCs of a lab's site: ``python -m infra.lab.site_bmc CONFIG``, started on the floor.

It may be killed at any time: machines go on without it, and the next ``up`` starts it again.
"""

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

from pydantic import SecretStr

from infra.lab import alive, cgroups
from infra.lab.bmc.certificate import TlsFiles
from infra.lab.power import LabHardware
from pachon.errors import PachonError
from pachon.model.base import Frozen
from pachon.model.facility import Machine

USER = "pachon"
PORT = 443
_REAP_SECONDS = 5.0


class BmcConfig(Frozen):
    """What the BMC process of a site has to know."""

    facility: str
    site: str
    machines: tuple[Machine, ...]
    folder: Path
    """Folder of the machines' folders."""
    tls: TlsFiles
    password_file: Path


def lock_path(config_path: Path) -> Path:
    """The file whose lock the process holds while it lives."""
    return config_path.with_suffix(".lock")


async def _serve(config: BmcConfig, report: int) -> None:
    from infra.lab.bmc.server import serving

    hardware = LabHardware(config.machines, facility=config.facility, folder=config.folder)
    users = {USER: SecretStr(config.password_file.read_text().strip())}
    async with serving(hardware, config.folder, bind="0.0.0.0", port=PORT, tls=config.tls, users=users):
        os.write(report, b"on")
        os.close(report)
        while True:
            await asyncio.sleep(_REAP_SECONDS)
            hardware.reap()


def main(config_path: Path, report: int) -> int:
    """Serve until killed; "on" is written to the descriptor ``report`` when the BMCs answer."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        config = BmcConfig.model_validate_json(config_path.read_bytes())
        cgroups.bmc(config.facility, config.site).join()
        if not alive.hold(lock_path(config_path)):
            os.write(report, b"on")
            return 0
        asyncio.run(_serve(config, report))
    except (PachonError, OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            os.write(report, f"failed: {error}".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
