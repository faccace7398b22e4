"""The machines of a lab as folders: what each keeper has to know, and the disks, attached."""

import contextlib
import shutil
from pathlib import Path

from infra.lab import cgroups, disks, ip, names, plug, power, spec, wiring
from infra.lab.bmc.hardware import facts_of
from pachon.errors import PachonError, PermanentError
from pachon.model.facility import Facility, Machine, Site

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
    loops = {each.file: each.device for each in disks.attached(folder)}
    ports = wiring.ports(site)
    made = 0
    for machine in site.machines:
        own = folder / machine.serial
        made += not spec.path(own).exists()
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        drives: list[spec.DiskSpec] = []
        for disk in machine.disks:
            file = own / "disks" / f"{disk.name}.img"
            disks.ensure_file(file, disk.size_gib * GIB)
            loop = ""
            if kind(machine) == "container":
                loop = loops.get(str(file)) or disks.attach(file)
            drives.append(spec.DiskSpec(disk.name, disk.serial, str(file), disk.size_gib * GIB, loop))
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
            disks=tuple(drives),
        )
        spec.save(own, facts)
    return made


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
    cgroups.machine(facility, serial).remove()
    shutil.rmtree(own)
