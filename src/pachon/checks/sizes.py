"""How large a machine has to be: the one table of what flavours and groups need at least."""

from collections.abc import Iterator
from dataclasses import dataclass

from pachon.model.facility import Host, Machine


@dataclass(frozen=True)
class Least:
    """What a machine has at least."""

    memory_mib: int = 0
    system_disk_gib: int = 0
    disks: int = 1
    nics: int = 1


FLAVOURS = {
    "admin": Least(memory_mib=512, system_disk_gib=4),
    "batch": Least(memory_mib=512, system_disk_gib=4),
    "batch_controller": Least(memory_mib=512, system_disk_gib=4),
    "kubernetes": Least(memory_mib=1024, system_disk_gib=4),
    "server": Least(memory_mib=256, system_disk_gib=2),
    "storage": Least(memory_mib=512, system_disk_gib=4),
    "switch": Least(memory_mib=256, system_disk_gib=2, nics=2),
}
"""Every kind of image, and what it boots on."""

GROUPS = {
    "admin": Least(memory_mib=512, system_disk_gib=4),
    "bastion": Least(memory_mib=256, system_disk_gib=2, nics=2),
    "database": Least(memory_mib=512, system_disk_gib=4, disks=2, nics=2),
    "dns": Least(memory_mib=256, system_disk_gib=2, nics=2),
    "front_door": Least(memory_mib=256, system_disk_gib=2, nics=2),
    "gateway": Least(memory_mib=256, system_disk_gib=2, nics=2),
    "kubernetes": Least(memory_mib=512, system_disk_gib=4, nics=2),
    "kubernetes_controller": Least(memory_mib=1024, system_disk_gib=4, nics=2),
    "kubernetes_worker": Least(memory_mib=1024, system_disk_gib=4, nics=2),
    "log_host": Least(memory_mib=256, system_disk_gib=4, nics=2),
    "metrics": Least(memory_mib=512, system_disk_gib=4, nics=2),
    "node_exporter": Least(memory_mib=256, system_disk_gib=2),
    "postgresql": Least(memory_mib=512, system_disk_gib=4, disks=2, nics=2),
    "slurm_accounting": Least(memory_mib=512, system_disk_gib=4, nics=2),
    "slurm_compute": Least(memory_mib=512, system_disk_gib=4, nics=2),
    "slurm_controller": Least(memory_mib=512, system_disk_gib=4, nics=2),
    "storage": Least(memory_mib=512, system_disk_gib=4, disks=2, nics=2),
    "switch": Least(memory_mib=256, system_disk_gib=2, nics=2),
    "time_server": Least(memory_mib=256, system_disk_gib=2, nics=2),
    "xrootd": Least(memory_mib=512, system_disk_gib=4, disks=2, nics=2),
}
"""What the role of each group needs; a group that is not here needs what its flavour needs."""


def lacking(host: Host, machine: Machine) -> Iterator[tuple[str, str]]:
    """What the machine is too small for, and how large it has to be."""
    needs = [(f"flavour {host.flavour}", FLAVOURS.get(host.flavour, Least()))]
    needs += [(f"group {group}", GROUPS[group]) for group in host.groups if group in GROUPS]
    has = {
        "memory": (machine.memory_mib, " MiB"),
        "system disk": (machine.disks[0].size_gib if machine.disks else 0, " GiB"),
        "disks": (len(machine.disks), ""),
        "NICs": (len(machine.nics), ""),
    }
    for who, least in needs:
        wanted = (least.memory_mib, least.system_disk_gib, least.disks, least.nics)
        for (what, (amount, unit)), number in zip(has.items(), wanted, strict=True):
            if amount < number:
                yield f"{what}: {amount}{unit}", f"{who} needs at least {number}{unit}"
