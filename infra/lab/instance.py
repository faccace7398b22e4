"""A lab on this machine, as a whole: up, down, status. What the command line and the provider call.

Labs are instances: everything of one bears its facility's name and its owner's mark, and nothing else is touched.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.lab import (
    alive,
    cgroups,
    console,
    disks,
    host,
    initrd,
    ip,
    kernel,
    launch,
    machine,
    names,
    network,
    record,
    site_bmc,
    spec,
    stock,
    wan,
    wiring,
)
from infra.lab import power as switches
from infra.lab.bmc.certificate import ensure_certificate
from infra.lab.site_bmc import BmcConfig
from pachon import places
from pachon.errors import PermanentError, RefusedError
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Hardware, Site
from pachon.progress import Event, EventState, Progress

STAGE = "lab"
BMC_START_SECONDS = 60

Tell = Callable[[str, EventState, str], None]


class SiteStatus(Frozen):
    """A site of a lab."""

    name: str
    floor: str
    """Its network namespace."""
    network: bool
    """Whether the namespace is there."""
    bmc_pid: int | None
    """The process that serves its BMCs; none: they do not answer."""
    cut_off: bool = False
    """Somebody cut it off from the controller."""


class MachineStatus(Frozen):
    """A machine of a lab."""

    serial: str
    site: str
    kind: str
    on: bool
    pid: int | None
    """Its keeper."""
    boots: int
    """Since power-on."""
    boot_source: str
    halted: bool
    """On, but nothing runs: no bootable device, or its system died."""
    console: Path


class LabStatus(Frozen):
    """A lab on this machine."""

    facility: str
    up: bool
    owner: Path | None
    """State folder that the lab of this name belongs to; none: there is no such lab."""
    sites: tuple[SiteStatus, ...]
    machines: tuple[MachineStatus, ...]
    problems: tuple[str, ...]
    """What the next ``up`` would mend."""
    links: tuple[wan.LinkStatus, ...] = ()
    """Between sites, as far as something is plugged in."""


def missing() -> list[str]:
    """What this machine lacks for a lab, each in words for people; empty where one can come up."""
    return host.missing()


def place(facility: Facility, site_name: str) -> tuple[str, ...]:
    """Command words to put before a program so that it runs where the site's own servers stand; none for real racks."""
    if facility.hardware is Hardware.RACKS:
        return ()
    return ("nsenter", f"--net={kernel.NETNS_FOLDER / names.floor(facility.name, site_name)}", "--")


async def up(facility: Facility, *, state: Path, progress: Progress) -> None:
    """The facility's hardware stands: networks, cables, disks, BMCs that answer. Machines keep their power state.

    Idempotent: what is right stays, what is missing or was left by killed processes is mended.

    Raises:
        MissingError: this machine cannot carry a lab.
        RefusedError: a lab of this name belongs to somebody else, or its prefix is taken.
        PachonError: something could not be made.
    """
    await asyncio.to_thread(_up, facility, state.resolve(), progress)


async def down(facility_name: str, *, state: Path, progress: Progress) -> None:
    """Nothing of the lab is left but the caches, whatever state it was in. Nothing happens if there is none.

    Raises:
        RefusedError: the lab of this name belongs to another state folder.
    """
    await asyncio.to_thread(_down, facility_name, state.resolve(), progress)


async def status(facility_name: str, *, state: Path) -> LabStatus:
    """The lab as it is now."""
    return await asyncio.to_thread(_status, facility_name, state.resolve())


def _teller(progress: Progress, facility: str) -> Tell:
    def tell(address: str, condition: EventState, message: str = "") -> None:
        progress(Event(stage=STAGE, address=address or facility, state=condition, message=message))

    return tell


def _up(facility: Facility, state: Path, progress: Progress) -> None:
    tell = _teller(progress, facility.name)
    tell("", "started", "")
    wiring.check(facility)
    host.require(facility)
    mark = names.mark(facility.name, state)
    with record.locked(facility.name):
        record.refuse_strangers(facility.name, state)
        changes = _mend(facility, state, mark, tell)
        raised = host.raise_inotify_limit(len(facility.machines))
        if raised:
            changes.append(raised)
        for site in facility.sites:
            made = stock.ensure(facility, site, state=state, cache=places.cache(), mark=mark)
            if made:
                changes.append(f"{made} machines at {site.name}")
        network.lay_cables(facility)
        changes += wan.ensure(facility, state=state)
        for site in facility.sites:
            changes += _ensure_bmc(facility, site, state)
    tell("", "done" if changes else "unchanged", "; ".join(changes) or "everything of it stands")


def _mend(facility: Facility, state: Path, mark: str, tell: Tell) -> list[str]:
    """What had to be done for the lab's network to stand and for nothing dead to lie about."""
    signature = wiring.signature(facility)
    known = record.read(facility.name)
    changes: list[str] = []
    if known is not None and not (state / "lab").exists():
        tell("", "moving", "its folder was removed: clearing what is left of the old lab")
        _clear(facility.name, state, mark)
        known = None
    _put_on_record(facility, state, known.signature if known else signature)
    (state / "lab").mkdir(mode=0o700, parents=True, exist_ok=True)
    dead = stock.bury_dead(state, facility.name)
    if dead:
        changes.append(f"cleaned up after machines whose keeper had died: {', '.join(dead)}")
    for own in stock.known(state):
        if own.name not in {each.serial for each in facility.machines}:
            stock.discard(state, facility.name, own.name)
            changes.append(f"took {own.name} away")
    stands = network.stands(facility)
    if not stands or (known is not None and known.signature != signature):
        running = [own.name for own in stock.known(state) if switches.keeper(own) is not None]
        if stands and running:
            raise RefusedError(
                f"the networks of {facility.name} changed while {', '.join(running)} run on them",
                cure="switch the machines off, or take the lab down, then up again",
            )
        for serial in running:
            cgroups.machine(facility.name, serial).kill()
        for site in facility.sites:
            cgroups.bmc(facility.name, site.name).kill()
        network.remove(facility.name, mark)
        network.build(facility, mark)
        changes.append("made its networks")
    _put_on_record(facility, state, signature)
    return changes


def _put_on_record(facility: Facility, state: Path, signature: str) -> None:
    namespaces = tuple(wiring.namespaces(facility))
    record.write(record.Record(facility=facility.name, state=state, signature=signature, namespaces=namespaces))


def _bmc_config_path(state: Path, site: str) -> Path:
    return state / "lab" / "sites" / f"{site}.json"


def _ensure_bmc(facility: Facility, site: Site, state: Path) -> list[str]:
    """What was done for the site's BMCs to answer."""
    path = _bmc_config_path(state, site.name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = state / "secrets" / f"bmc-{site.name}"
    password.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(18))
    tls = ensure_certificate(path.parent / site.name, now=datetime.now(UTC))
    config = BmcConfig(
        facility=facility.name,
        site=site.name,
        machines=site.machines,
        folder=stock.machines_folder(state),
        tls=tls,
        password_file=password,
    ).model_dump_json()
    if alive.holder(site_bmc.lock_path(path)) is not None:
        if path.read_text() == config:
            return []
        cgroups.bmc(facility.name, site.name).kill()
    partial = path.with_suffix(".part")
    partial.write_text(config)
    partial.replace(path)
    launch.start(
        "infra.lab.site_bmc",
        path,
        log=path.with_suffix(".log"),
        timeout=timedelta(seconds=BMC_START_SECONDS),
        prefix=place(facility, site.name),
    )
    return [f"started the BMCs of {site.name}"]


def _down(facility: str, state: Path, progress: Progress) -> None:
    tell = _teller(progress, facility)
    tell("", "started", "")
    if os.geteuid() != 0:
        raise PermanentError(f"the lab {facility} needs root to be taken down", cure="run as root")
    mark = names.mark(facility, state)
    with record.locked(facility):
        record.refuse_strangers(facility, state)
        there = record.read(facility) is not None or (state / "lab").exists()
        _clear(facility, state, mark)
        record.forget(facility)
        if not record.others(facility):
            initrd.prune(places.cache() / "lab" / "initrd")
    tell("", "done" if there else "unchanged", "" if there else "there is no lab of this name")


def _clear(facility: str, state: Path, mark: str) -> None:
    """Remove every process, mount, loop device, namespace and file of the lab, whatever of it is there."""
    folder = state / "lab"
    group = cgroups.lab(facility)
    group.kill()
    network.end_inhabitants(record.own_namespaces(facility, mark))
    for disk in disks.attached(folder):  # before the mounts go, under which the kernel names their files
        disks.detach(disk.device)
    for point in kernel.mounts_below(folder):
        with contextlib.suppress(OSError):
            kernel.unmount(point, lazy=True)
    network.remove(facility, mark)
    group.remove()
    if folder.exists():
        shutil.rmtree(folder)


def _status(facility: str, state: Path) -> LabStatus:
    known = record.read(facility)
    owned = known is not None and known.state == state
    sites: list[SiteStatus] = []
    problems: list[str] = []
    if known is not None and not owned:
        problems.append(f"a lab of this name is up and belongs to {known.state}")
    cut_off = wan.sites_cut_off(facility) if owned else frozenset()
    for path in sorted((state / "lab" / "sites").glob("*.json")) if owned else []:
        floor = names.floor(facility, path.stem)
        site = SiteStatus(
            name=path.stem,
            floor=floor,
            network=ip.exists(floor),
            bmc_pid=alive.holder(site_bmc.lock_path(path)),
            cut_off=path.stem in cut_off,
        )
        sites.append(site)
        problems += [] if site.network else [f"the network of {site.name} is gone"]
        problems += [] if site.bmc_pid else [f"the BMCs of {site.name} do not answer"]
        problems += [f"site {site.name} is cut off"] if site.cut_off else []
    links = wan.status(facility, state=state) if owned else ()
    for link in links:
        problems += [] if link.pid else [f"link {link.name} carries nothing"]
        problems += [f"link {link.name} is cut"] if link.cut else []
    machines = tuple(_machine_status(own) for own in stock.known(state)) if owned else ()
    for own in stock.known(state) if owned else []:
        if switches.keeper(own) is None and cgroups.power(facility, own.name).populated():
            problems.append(f"{own.name} runs without a keeper")
    for serial, disk in stock.missing_disks(state) if owned else []:
        problems.append(f"the file of disk {disk} of {serial} was removed: once that is off, 'pachon lab up' makes one")
    return LabStatus(
        facility=facility,
        up=owned and bool(sites) and not problems,
        owner=known.state if known else None,
        sites=tuple(sites),
        machines=machines,
        problems=tuple(problems),
        links=links,
    )


def _machine_status(own: Path) -> MachineStatus:
    facts = spec.load(own)
    pid = switches.keeper(own)
    told = machine.read_status(own) if pid is not None else None
    return MachineStatus(
        serial=facts.serial,
        site=facts.site,
        kind=facts.kind,
        on=pid is not None,
        pid=pid,
        boots=told.boots if told else 0,
        boot_source=told.source if told else "",
        halted=told.halted if told else False,
        console=console.path(own),
    )
