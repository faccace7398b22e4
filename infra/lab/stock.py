"""The machines of a lab as folders: what each keeper has to know, and the disks, attached."""

import contextlib
import os
import shutil
from pathlib import Path

from infra.lab import cgroups, disks, ip, kernel, names, plug, power, spec, wiring
from infra.lab.bmc.hardware import facts_of
from pachon.errors import PachonError, PermanentError
from pachon.model.facility import Disk, Facility, Machine, Site

GIB = 1 << 30
FIRMWARE_MODEL = "firmware"


def machines_folder(state: Path) -> Path:
    """Folder of the machines' folders."""
    return state / "lab" / "machines"


def kind(machine: Machine) -> spec.Kind:
    """How the lab emulates the machine: its model says it."""
    return "firmware" if machine.model == FIRMWARE_MODEL else "container"


def ensure(facility: Facility, site: Site, *, state: Path, cache: Path, mark: str) -> int:
    """Folder, spec and disks of every machine of the site are there; how many were made."""
    folder = machines_folder(state)
    attached = disks.attached(folder)
    gone = {each.device for each in attached if each.deleted}
    loops = {each.file: each.device for each in attached}
    ports = wiring.ports(facility, site)
    made = 0
    for machine in site.machines:
        own = folder / machine.serial
        made += not spec.path(own).exists()
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        running = power.keeper(own) is not None
        used = {disk.file for disk in spec.load(own).disks} if running else set()
        usable = loops if running else _without(loops, own, gone)
        facts = spec.MachineSpec(
            facility=facility.name,
            mark=mark,
            site=site.name,
            serial=machine.serial,
            kind=kind(machine),
            uuid=facts_of(machine).uuid,
            vendor=machine.vendor,
            model=machine.model,
            cpus=machine.cpus,
            memory_mib=machine.memory_mib,
            namespace=names.machine_namespace(facility.name, machine.serial),
            floor=names.floor(facility.name, site.name),
            cache=str(cache / "lab" / "initrd"),
            ports=ports[machine.serial],
            disks=_drives(own, machine, usable, used=used),
        )
        spec.save(own, facts)
    return made


def _without(loops: dict[str, str], own: Path, gone: set[str]) -> dict[str, str]:
    """The loop devices without those of this machine whose file was removed, which are detached: it gets new disks."""
    lost = [file for file, loop in loops.items() if loop in gone and file.startswith(f"{own}/")]
    for file in lost:
        disks.detach(loops[file])
    return {file: loop for file, loop in loops.items() if file not in lost}


def missing_disks(state: Path) -> list[tuple[str, str]]:
    """(Serial, disk) for every disk whose file was removed; while its machine runs it keeps what it had."""
    gone = {each.file for each in disks.attached(machines_folder(state)) if each.deleted}
    return [
        (own.name, disk.name)
        for own in known(state)
        for disk in spec.load(own).disks
        if disk.file in gone or not Path(disk.file).exists()
    ]


def _drives(own: Path, machine: Machine, loops: dict[str, str], *, used: set[str]) -> tuple[spec.DiskSpec, ...]:
    """The machine's disks; a container's are attached, and what it does not use any more is detached.

    ``used`` are the files that the machine runs on. One that was removed is not made anew: that would hide it.
    """
    drives: list[spec.DiskSpec] = []
    for disk in machine.disks:
        file = str(_disk_file(own, disk, used))
        loop = (loops.get(file) or disks.attach(Path(file))) if kind(machine) == "container" else ""
        drives.append(spec.DiskSpec(disk.name, disk.serial, file, disk.size_gib * GIB, loop))
    used = {drive.loop for drive in drives}
    for file, loop in loops.items():
        if file.startswith(f"{own}/") and loop not in used:
            disks.detach(loop)
    return tuple(drives)


def _disk_file(own: Path, disk: Disk, used: set[str]) -> Path:
    """The sparse file behind a disk; of one made to fill up, on a small file system of its own."""
    room_mib = plug.faults(own).get("full", {}).get(disk.name)
    folder = own / "disks"
    if room_mib is not None:
        folder = own / "full" / disk.name
        folder.mkdir(parents=True, exist_ok=True)
        if not os.path.ismount(folder):
            kernel.mount("full", folder, kind="tmpfs", options=f"size={int(room_mib)}m,mode=0700")
    file = folder / f"{disk.name}.img"
    if file.exists() or str(file) not in used:
        disks.ensure_file(file, disk.size_gib * GIB)
    return file


def known(state: Path) -> list[Path]:
    """Folders of all machines that the lab has."""
    folder = machines_folder(state)
    return sorted(path.parent for path in folder.glob("*/machine.json")) if folder.is_dir() else []


def bury_dead(state: Path, facility: str) -> list[str]:
    """Serials of machines whose keeper died while they were on; what it left is cleaned away, and they are off."""
    dead: list[str] = []
    for own in known(state):
        if power.keeper(own) is not None:
            continue
        group = cgroups.power(facility, own.name)
        try:
            machine = spec.load(own)
        except (ValueError, TypeError, KeyError) as error:
            raise PermanentError(f"{own}/machine.json is damaged", cure="'pachon lab down', then up") from error
        if group.populated() or ip.exists(machine.namespace):
            group.kill()
            plug.unplug(machine)
            dead.append(own.name)
    return dead


def discard(state: Path, facility: str, serial: str) -> None:
    """Take a machine away that is not defined any more: off, its disks detached, its folder gone."""
    own = machines_folder(state) / serial
    cgroups.machine(facility, serial).kill()
    with contextlib.suppress(FileNotFoundError, PachonError, ValueError, TypeError):
        plug.unplug(spec.load(own))
    for disk in disks.attached(own):
        disks.detach(disk.device)
    for point in kernel.mounts_below(own):
        kernel.unmount(point, lazy=True)
    cgroups.machine(facility, serial).remove()
    shutil.rmtree(own)
