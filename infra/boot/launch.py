"""Starts, finds and stops the boot service of a site; it outlives whoever started it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import psutil

from infra.boot import ca
from infra.boot.client import BootClient
from infra.boot.orders import FileLike, ImagesLike, MachineSettings, Settings, State
from pachon import places
from pachon.drivers import program
from pachon.errors import PachonError, PermanentError, TemporaryError
from pachon.model.facility import Facility, Site
from pachon.progress import Event, Progress

HTTP_PORT = 8017
HTTPS_PORT = 8018
START_SECONDS = 20.0
STOP_SECONDS = 5.0
BUSY_SECONDS = 60.0
"""How long running deploys may hold up a restart; after that they go on over it, since agents try again."""


def folder(state: Path, site_name: str) -> Path:
    """Where the boot service of this site keeps everything."""
    return state / "boot" / site_name


def admin_socket(state: Path, site_name: str) -> Path:
    """What ``BootClient`` is given."""
    return folder(state, site_name) / "admin.sock"


def settings_of(
    facility: Facility,
    site: Site,
    *,
    state: Path,
    deploy_image: FileLike,
    bind_address: IPv4Address | None = None,
    machine_addresses: Mapping[str, IPv4Address] | None = None,
    http_port: int = HTTP_PORT,
    https_port: int = HTTPS_PORT,
    dhcp: bool = True,
) -> Settings:
    """Settings of this site's boot service. A twin gives its own addresses and ports, and no DHCP."""
    addresses = machine_addresses or {}
    return Settings(
        facility=facility.name,
        site=site.name,
        state=state,
        folder=folder(state, site.name),
        management=site.management,
        boot_address=site.boot_address,
        bind_address=bind_address or site.boot_address,
        http_port=http_port,
        https_port=https_port,
        dhcp=dhcp,
        deploy_image=deploy_image.path,
        deploy_digest=deploy_image.digest,
        limits=site.deploy,
        machines=tuple(
            MachineSettings(
                serial=machine.serial,
                mac=machine.boot_nic.mac,
                address=addresses.get(machine.serial, machine.management_address),
                bmc_address=machine.bmc_address,
                rack=machine.rack,
            )
            for machine in site.machines
        ),
    )


async def ensure(
    facility: Facility,
    site: Site,
    *,
    state: Path,
    images: ImagesLike,
    progress: Progress,
    place: Sequence[str] = (),
    bind_address: IPv4Address | None = None,
    machine_addresses: Mapping[str, IPv4Address] | None = None,
    http_port: int = HTTP_PORT,
    https_port: int = HTTPS_PORT,
    dhcp: bool = True,
) -> Path:
    """Admin socket of the running service: left alone when its settings and place are right, else (re)started.

    Also makes the CA of every site, the automation key and ``S/ssh_config``.

    Raises:
        PermanentError: it does not start; with the end of its log.
    """
    prepare(facility, state=state)
    settings = settings_of(
        facility,
        site,
        state=state,
        deploy_image=images.deploy,
        bind_address=bind_address,
        machine_addresses=machine_addresses,
        http_port=http_port,
        https_port=https_port,
        dhcp=dhcp,
    )
    address = f"{site.name}/boot"
    socket = admin_socket(state, site.name)
    running = _running(settings.folder)
    if running is not None:
        if await _is_right(running, settings, place, socket):
            progress(Event("boot", address, "unchanged", "boot service runs with these settings"))
            return socket
        await _until_idle(socket, progress, address)
        await _end(running)
    progress(Event("boot", address, "started", "boot service"))
    await _start(settings, place, socket)
    progress(Event("boot", address, "done", f"boot service listens on {settings.bind_address}"))
    return socket


def prepare(facility: Facility, *, state: Path) -> None:
    """Make the CA of every site, the automation key with a good certificate, and ``S/ssh_config``."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for site in facility.sites:
        ca.ensure_site(state, site)
    ca.ensure_automation_key(state, facility)
    ca.write_ssh_config(facility, state)


async def stop(state: Path, site_name: str) -> bool:
    """Whether there was a boot service of this site to stop."""
    running = _running(folder(state, site_name))
    if running is None:
        return False
    await _end(running)
    return True


def is_running(state: Path, site_name: str) -> bool:
    """Whether the boot service of this site lives."""
    return _running(folder(state, site_name)) is not None


def _running(place: Path) -> psutil.Process | None:
    """The living service of this folder: the one noted there or, where the note is lost, the one that runs for it."""
    try:
        noted = int(json.loads((place / "service.json").read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        noted = 0
    for number in (noted, *psutil.pids()):
        process = _serving(number, place) if number else None
        if process is not None:
            return process
    return None


def _serving(number: int, place: Path) -> psutil.Process | None:
    """The process of that number, if its command line is that of this folder's service: pids are used again."""
    try:
        process = psutil.Process(number)
        arguments = process.cmdline()
        ours = "infra.boot.service" in arguments and str(place / "settings.json") in arguments
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


async def _is_right(running: psutil.Process, settings: Settings, place: Sequence[str], socket: Path) -> bool:
    try:
        health = await BootClient(socket, patience=timedelta(seconds=2)).health()
    except PachonError:
        return False
    if health["settings"] != settings.digest:
        return False
    output = await program.run([*place, "readlink", "/proc/self/ns/net"], timeout=timedelta(seconds=10), check=False)
    try:
        return output.stdout.strip() == str(Path(f"/proc/{running.pid}/ns/net").readlink())
    except OSError:
        return False


async def _until_idle(socket: Path, progress: Progress, address: str) -> None:
    end = time.monotonic() + BUSY_SECONDS
    client = BootClient(socket, patience=timedelta(seconds=1))
    while time.monotonic() < end:
        try:
            busy = [deploy.serial for deploy in await client.all() if deploy.state in (State.FETCHED, State.DEPLOYING)]
        except PachonError:
            return
        if not busy:
            return
        progress(Event("boot", address, "moving", f"settings changed; waiting for {len(busy)} running deploys"))
        await asyncio.sleep(1)


async def _end(process: psutil.Process) -> None:
    """Ask it to stop, then make it; psutil compares start times, so a pid used again is never hit."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        if not await _gone(process):
            process.kill()
            await _gone(process)


async def _gone(process: psutil.Process) -> bool:
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        await asyncio.sleep(0.05)
    return False


async def _start(settings: Settings, place: Sequence[str], socket: Path) -> None:
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.folder / "settings.json"
    ca.write(path, settings.model_dump_json(indent=1) + "\n")
    log = settings.folder / "log"
    argv = [*place, sys.executable, "-m", "infra.boot.service", "--config", str(path)]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: ASYNC220  asyncio would kill it when this loop ends
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=places.CHECKOUT,
            start_new_session=True,
            env={
                **places.imports(),
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "PYTHONUNBUFFERED": "1",
            },
        )
    client = BootClient(socket, patience=timedelta(seconds=0))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            tail = log.read_text(errors="replace").splitlines()[-5:]
            raise PermanentError(
                f"the boot service of {settings.site} ended at once: " + " | ".join(tail), cure=f"see {log}"
            )
        try:
            if (await client.health())["settings"] == settings.digest:
                process.returncode = 0  # it lives on without us: no warning about that when this object goes
                return
        except PachonError:
            await asyncio.sleep(0.1)
    raise TemporaryError(f"the boot service of {settings.site} does not come up", cure=f"see {log}")
