"""A twin on this machine, as a whole: up, down, status; the same three verbs as ``infra.lab.instance``.

Everything of it lies in ``<state>/lab/twin``; it needs no right and touches no network but loopback.
"""

import asyncio
import contextlib
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path
from subprocess import Popen

from pydantic import ValidationError

from infra.lab import alive, launch
from infra.lab.bmc import hardware
from infra.lab.instance import LabStatus, MachineStatus, SiteStatus
from infra.lab.twin import machines
from infra.lab.twin.addresses import loopback
from infra.lab.twin.process import SiteConfig, TwinConfig, lock_path, save
from pachon.drivers.run_file import Endpoint
from pachon.errors import TemporaryError
from pachon.model.facility import Facility, Site
from pachon.progress import Event, Progress

STAGE = "lab"
BMC_PORT = 8443
SSH_PORT = 8022
START_SECONDS = 60
STOP_SECONDS = 10.0


def folder(state: Path) -> Path:
    """Where everything of a twin lies."""
    return state / "lab" / "twin"


def machines_folder(state: Path) -> Path:
    """Where its machines' folders lie; also what the faults of BMCs and machines are set in."""
    return folder(state) / "machines"


def config_path(state: Path) -> Path:
    """What its process was told."""
    return folder(state) / "twin.json"


async def up(facility: Facility, *, state: Path, progress: Progress) -> None:
    """The twin's BMCs answer and its hosts take logins. Idempotent; machines stay as they are.

    Raises:
        PermanentError: its process does not start.
    """
    await asyncio.to_thread(_up, facility, state.resolve(), progress)


async def down(facility_name: str, *, state: Path, progress: Progress) -> None:
    """Nothing of the twin is left. Nothing happens if there is none."""
    await asyncio.to_thread(_down, facility_name, state.resolve(), progress)


async def status(facility_name: str, *, state: Path) -> LabStatus:
    """The twin as it is now."""
    return await asyncio.to_thread(_status, facility_name, state.resolve())


def is_up(state: Path) -> bool:
    """Whether its process lives."""
    return alive.holder(lock_path(config_path(state))) is not None


def endpoints(state: Path) -> dict[str, Endpoint]:
    """Where each BMC address and each management address is really reached; empty when the twin is not up."""
    path = config_path(state)
    if _config(state) is None or not is_up(state):
        return {}
    try:
        told = path.stat()
    except FileNotFoundError:  # it was taken down just now
        return {}
    return dict(_doors(path, told.st_ino, told.st_mtime_ns))


def boot_address(site: Site) -> IPv4Address:
    """Where the site's boot service binds in a twin."""
    return loopback(site.boot_address)


def machine_addresses(site: Site) -> Mapping[str, IPv4Address]:
    """By serial: the address that a twin machine speaks to its boot service from."""
    return {machine.serial: loopback(machine.management_address) for machine in site.machines}


def _up(facility: Facility, state: Path, progress: Progress) -> None:
    progress(Event(STAGE, facility.name, "started", "the twin"))
    for path in (folder(state).parent, folder(state)):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = _config(state)
    living = is_up(state)
    wanted = _wanted(facility, state, known)
    if living and known == wanted:
        progress(Event(STAGE, facility.name, "unchanged", f"the twin's {len(facility.machines)} machines stand"))
        return
    if living:
        _stop(state)
    process = _start(facility, state, wanted)
    process.returncode = 0  # it lives on without us: no warning about that when this object goes
    progress(Event(STAGE, facility.name, "done", f"{len(facility.machines)} twin machines stand on loopback"))


def _start(facility: Facility, state: Path, wanted: TwinConfig) -> Popen[bytes]:
    """The process that stands for the facility, listening."""
    _forget_strangers(facility, state)
    path = config_path(state)
    save(wanted, path)
    return launch.start(
        "infra.lab.twin.process", path, log=path.with_suffix(".log"), timeout=timedelta(seconds=START_SECONDS)
    )


def _wanted(facility: Facility, state: Path, known: TwinConfig | None) -> TwinConfig:
    """What its process is to be told; ports stay where they were."""
    ports = {site.name: site.bmc_port for site in known.sites} if known else {}
    return TwinConfig(
        facility=facility.name,
        folder=machines_folder(state),
        sites=tuple(
            SiteConfig(
                name=site.name,
                machines=site.machines,
                password_file=_password(state, site),
                bmc_port=ports.get(site.name, BMC_PORT + number),
            )
            for number, site in enumerate(facility.sites)
        ),
        ssh_port=known.ssh_port if known else SSH_PORT,
    )


def _password(state: Path, site: Site) -> Path:
    path = state / "secrets" / f"bmc-{site.name}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18))
    return path


def _forget_strangers(facility: Facility, state: Path) -> None:
    """Remove the folders of machines that the facility has no more."""
    serials = {machine.serial for machine in facility.machines}
    for own in machines_folder(state).glob("*/"):
        if own.name not in serials:
            shutil.rmtree(own)


def _stop(state: Path) -> None:
    lock = lock_path(config_path(state))
    end = time.monotonic() + STOP_SECONDS
    number = signal.SIGTERM
    while alive.send(lock, number):
        if time.monotonic() > end:
            if number is signal.SIGKILL:
                raise TemporaryError("the twin's process does not end", cure="end it by hand: its log names it")
            number, end = signal.SIGKILL, time.monotonic() + STOP_SECONDS
        time.sleep(0.05)


def _down(facility: str, state: Path, progress: Progress) -> None:
    there = folder(state).exists()
    progress(Event(STAGE, facility, "started", "the twin"))
    _stop(state)
    if there:
        shutil.rmtree(folder(state))
        with contextlib.suppress(OSError):
            folder(state).parent.rmdir()
    progress(Event(STAGE, facility, "done" if there else "unchanged", "" if there else "there is no twin"))


def _config(state: Path) -> TwinConfig | None:
    path = config_path(state)
    try:
        told = path.stat()
        return _read(path, told.st_ino, told.st_mtime_ns)
    except (FileNotFoundError, ValidationError):
        return None


@lru_cache(maxsize=4)
def _read(path: Path, inode: int, changed: int) -> TwinConfig:
    """The file that is a new one each time it is written."""
    return TwinConfig.model_validate_json(path.read_bytes())


@lru_cache(maxsize=4)
def _doors(path: Path, inode: int, changed: int) -> Mapping[str, Endpoint]:
    config, found = _read(path, inode, changed), dict[str, Endpoint]()
    for site in config.sites:
        for machine in site.machines:
            found[str(machine.bmc_address)] = Endpoint(host=str(loopback(machine.bmc_address)), port=site.bmc_port)
            address = machine.management_address
            found[str(address)] = Endpoint(host=str(loopback(address)), port=config.ssh_port)
    return found


def _status(facility: str, state: Path) -> LabStatus:
    config = _config(state)
    pid = alive.holder(lock_path(config_path(state)))
    if config is None:
        return LabStatus(facility=facility, up=False, owner=None, sites=(), machines=(), problems=())
    own = machines_folder(state)
    found: list[MachineStatus] = []
    for site in config.sites:
        for machine in site.machines:
            told = machines.read_told(own, machine.serial)
            found.append(
                MachineStatus(
                    serial=machine.serial,
                    site=site.name,
                    kind="twin",
                    on=told.on,
                    pid=pid,
                    boots=told.boots,
                    boot_source=told.source or hardware.BootSource.NONE.value,
                    halted=told.halted,
                    console=machines.console_path(own, machine.serial),
                )
            )
    return LabStatus(
        facility=facility,
        up=pid is not None,
        owner=state,
        sites=tuple(SiteStatus(name=site.name, floor="", network=True, bmc_pid=pid) for site in config.sites),
        machines=tuple(found),
        problems=() if pid is not None else ("the twin's process is gone; the next 'up' starts it",),
    )
