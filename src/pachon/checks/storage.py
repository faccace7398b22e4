"""Storage: pools of disks that are there, are not the system's and are used once; volumes that fit."""

from collections import defaultdict
from collections.abc import Iterator

from pachon.checks.notes import Claim, Note, contested, near, subject
from pachon.model.facility import Facility, Machine, Site, StoragePool

SYSTEM = frozenset({"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "usr"})
"""Folders of the operating system: nothing of ours is mounted on them or in them."""
WHOLE = frozenset({"/home", "/tmp", "/var", "/var/lib", "/var/lib/pachon", "/var/log"})
"""Folders that may hold a mount and may not be one."""


def capacity_gib(pool: StoragePool, machine: Machine) -> int:
    """Space of a pool: all of its disks, or what can be kept twice on different ones."""
    sizes = [disk.size_gib for disk in machine.disks if disk.name in pool.disks]
    total = sum(sizes)
    return min(total // 2, total - max(sizes, default=0)) if pool.mirrored else total


def _pool(pool: StoragePool, machine: Machine, address: str) -> Iterator[Note]:
    names = [disk.name for disk in machine.disks]
    for name in pool.disks:
        if name not in names:
            cure = near(name, names[1:], otherwise=f"its data disks are {', '.join(names[1:]) or 'none'}")
            wrong = f"the machine {machine.serial} has no disk {name!r}"
            yield Note(address, wrong, cure, "disks", missing=machine.serial)
        elif name == names[0]:
            yield Note(address, f"{name} is the system disk of {machine.serial}", "take other disks", "disks")
    if not pool.disks:
        yield Note(address, f"the machine {machine.serial} has no data disks", "add some to disks.csv", "disks")
    elif pool.mirrored and len(set(pool.disks)) < 2:
        yield Note(address, "a mirrored pool has one disk", "name two disks, or write mirrored: false", "mirrored")
    if pool.file_system == "xfs" and (pool.mirrored or len(pool.disks) > 1):
        cure = "take btrfs, or one disk and mirrored: false"
        yield Note(address, "xfs neither mirrors nor spans disks", cure, "file_system")


def _volumes(site: Site, pools: dict[str, StoragePool], space_gib: dict[str, int]) -> Iterator[Note]:
    used: defaultdict[str, int] = defaultdict(int)
    mounts: list[Claim] = []
    for volume in site.volumes:
        address = subject(site.name, "volume", volume.name)
        pool = pools.get(volume.pool)
        if pool is None:
            cure = near(volume.pool, pools, otherwise="add it to storage_pools")
            wrong = f"there is no storage pool {volume.pool!r} at {site.name}"
            yield Note(address, wrong, cure, "pool", missing=volume.pool)
            continue
        if volume.mount in WHOLE or volume.mount.split("/")[1] in SYSTEM:
            wrong = f"the mount {volume.mount} would hide a part of the operating system"
            yield Note(address, wrong, "mount it below /srv, or in a folder of its own", "mount")
        mounts.append(Claim((pool.host, volume.mount), address, "mount"))
        used[volume.pool] += volume.size_gib
        space = space_gib.get(volume.pool)
        if space is not None and used[volume.pool] > space:
            wrong = f"the volumes of {volume.pool} come to {used[volume.pool]} GiB and it has {space} GiB"
            yield Note(address, wrong, "make volumes smaller, or the pool larger", "size_gib")
    yield from contested("mount", mounts, cure="mount each volume of a host elsewhere")


def storage(facility: Facility) -> Iterator[Note]:
    """Everything wrong with storage pools and volumes."""
    for site in facility.sites:
        hosts = {host.name: host for host in site.hosts}
        pools = {pool.name: pool for pool in site.storage_pools}
        space_gib: dict[str, int] = {}
        disks: list[Claim] = []
        for pool in site.storage_pools:
            address = subject(site.name, "storage-pool", pool.name)
            host = hosts.get(pool.host)
            if host is None:
                cure = near(pool.host, hosts, otherwise="add it to hosts")
                wrong = f"there is no host {pool.host!r} at {site.name}"
                yield Note(address, wrong, cure, "host", missing=pool.host)
                continue
            machine = site.machine_by_serial.get(host.machine)
            if machine is not None:
                notes = list(_pool(pool, machine, address))
                yield from notes
                if not notes:
                    space_gib[pool.name] = capacity_gib(pool, machine)
            disks += [Claim((pool.host, name), address, "disks") for name in pool.disks]
        yield from contested("disk", disks, cure="a disk belongs to one storage pool")
        yield from _volumes(site, pools, space_gib)
