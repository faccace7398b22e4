"""Firmware of a container machine: finds something to boot and turns this process into systemd-nspawn running it.

Everything it mounts is in a mount namespace of its own and vanishes with the machine. What nspawn wants under /run is
there too, so the machine that carries the lab keeps no trace.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.lab import dhcp, disks, fetch, gpt, initrd, ip, kernel, uki
from infra.lab.boot_source import Choice
from infra.lab.spec import MachineSpec
from pachon.errors import PachonError

NOTHING_TO_BOOT = 75
"""Exit status: no bootable device; the machine stays on, as a real one does."""
ROOT_FILE_SYSTEMS = ("ext4", "btrfs", "xfs", "erofs")
RAM_DISK_FRACTION = 2
"""A deploy image may fill one part in so many of the machine's memory."""

SMALLEST_RAM_DISK_MIB = 256
OWN_SETTINGS = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory")
"""Settings of the kernel that programs in guests insist on (Kubernetes does): each guest has files of its own for them,
since they are this machine's. What it writes there it reads again, and nothing else happens."""

KEPT_FROM_GUESTS = "CAP_SYS_MODULE,CAP_SYS_TIME,CAP_SYSLOG"
"""Rights by which a guest would change the clock, kernel or kernel log of the machine that carries the lab."""

Say = Callable[[str], None]


class NotBootableError(Exception):
    """This source has nothing to boot; the message is what the console shows."""


@dataclass(frozen=True)
class Desk:
    """Where a power-on keeps its things: a tmpfs in its own mount namespace."""

    folder: Path

    @property
    def root(self) -> Path:
        """The guest's root file system."""
        return self.folder / "root"

    @property
    def nodes(self) -> Path:
        """Device nodes by the guest's names."""
        return self.folder / "nodes"

    @property
    def identity(self) -> Path:
        """What the guest sees as /run/host/dmi."""
        return self.folder / "dmi"

    @property
    def settings(self) -> Path:
        """The guest's own files for ``OWN_SETTINGS``."""
        return self.folder / "settings"


def argv(spec: MachineSpec, desk: Desk, *, loads: tuple[str, ...], partitions: bool) -> list[str]:
    """The nspawn command that runs what is at ``desk.root``."""
    name = re.sub(r"[^a-z0-9-]", "-", f"{spec.facility}-{spec.serial}".lower())[:63].strip("-")
    binds = [f"--bind={node}:/dev/{node.name}" for node in _guest_nodes(spec, desk, partitions=partitions)]
    return [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        f"--directory={desk.root}",
        f"--machine={name}",
        f"--uuid={spec.uuid}",
        f"--network-namespace-path={desk.folder}/netns",
        "--capability=all",
        f"--drop-capability={KEPT_FROM_GUESTS}",
        "--system-call-filter=@known",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
        *binds,
        f"--bind={desk.folder}/by:/dev/disk",
        f"--bind-ro={desk.identity}:/run/host/dmi",
        f"--bind-ro={desk.folder}/boot:/run/host/boot",
        "--bind-ro=/run/host/boot/cmdline:/proc/cmdline",
        f"--bind={desk.settings}:/run/host/settings",
        *(f"--bind=/run/host/settings/{name}:/proc/sys/{name}" for name in OWN_SETTINGS),
        *loads,
    ]


def _guest_nodes(spec: MachineSpec, desk: Desk, *, partitions: bool) -> list[Path]:
    whole = {disk.name for disk in spec.disks}
    extra = [Path("/dev/btrfs-control")] if Path("/dev/btrfs-control").exists() else []
    return [node for node in sorted(desk.nodes.iterdir()) if partitions or node.name in whole] + extra


def prepare(spec: MachineSpec, folder: Path) -> Desk:
    """The desk of this power-on, with identity and disk nodes; disks are free and their old partitions forgotten.

    Raises:
        TemporaryError: a disk is still in use.
    """
    place = folder / "boot"
    place.mkdir(exist_ok=True)
    kernel.mount(
        "pachon",
        place,
        kind="tmpfs",
        options=f"mode=0700,size={max(spec.memory_mib // RAM_DISK_FRACTION, SMALLEST_RAM_DISK_MIB)}m",
    )
    desk = Desk(place)
    for part in (desk.root, desk.nodes, desk.identity, place / "boot", place / "by" / "by-id"):
        part.mkdir(parents=True)
        part.chmod(0o755)
    (place / "by").chmod(0o755)
    facts = {
        "product_serial": spec.serial,
        "product_uuid": spec.uuid,
        "product_name": spec.model,
        "sys_vendor": spec.vendor,
    }
    for key, value in facts.items():
        (desk.identity / key).write_text(f"{value}\n")
    for name in OWN_SETTINGS:
        path = desk.settings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Path("/proc/sys", name).read_text())
    (place / "netns").touch()
    kernel.bind(kernel.NETNS_FOLDER / spec.namespace, place / "netns")
    for disk in spec.disks:
        disks.wait_until_free(disk.loop)
        disks.forget_partitions(disk.loop)
        disks.make_node(desk.nodes / disk.name, Path("/sys/block") / Path(disk.loop).name)
        (place / "by" / "by-id" / disk.serial).symlink_to(f"../../{disk.name}")
    return desk


def boot(spec: MachineSpec, folder: Path, *, choice: Choice, say: Say) -> int:
    """Exec what the choice, or else the firmware's own order, boots; comes back only if nothing can be booted."""
    try:
        desk = prepare(spec, folder)
    except (PachonError, OSError) as error:
        say(f"refusing to boot: {error}")
        return NOTHING_TO_BOOT
    order = [choice] if choice.forced else []
    for source in ("Hdd", "UefiHttp"):
        if source not in [each.source for each in order]:
            order.append(Choice("Hdd" if source == "Hdd" else "UefiHttp", "", False, choice.media_path))
    for each in order:
        try:
            command = _load(spec, desk, each, say)
        except (NotBootableError, uki.NotAnImageError, initrd.DamagedError, fetch.FetchError, OSError) as error:
            say(f"{each.source}: {error}")
            _clear(desk)
            continue
        _start(desk, command)
    say("no bootable device")
    return NOTHING_TO_BOOT


def _load(spec: MachineSpec, desk: Desk, choice: Choice, say: Say) -> list[str]:
    match choice.source:
        case "Hdd":
            return _load_disk(spec, desk, say)
        case "UefiHttp":
            image = desk.folder / "image.efi"
            _download(spec, choice.target, image, say)
        case "Cd":
            image = desk.folder / "image.efi"
            _copy_from_medium(choice.target, image, say)
    return _load_image(spec, desk, image, say)


def _clear(desk: Desk) -> None:
    with contextlib.suppress(OSError):
        kernel.unmount(desk.root)
    (desk.folder / "image.efi").unlink(missing_ok=True)


def _start(desk: Desk, command: list[str]) -> None:
    """Become nspawn, with the desk as its /run."""
    inner = [word.replace(str(desk.folder), "/run") for word in command]
    kernel.bind(desk.folder, Path("/run"), recursive=True)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    environment["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "network"
    kernel.die_with_parent(False)
    os.execvpe(inner[0], inner, environment)


def _load_disk(spec: MachineSpec, desk: Desk, say: Say) -> list[str]:
    for disk in spec.disks:
        known = disks.know_partitions(disk.loop) if disks.read_table(disk.loop) else {}
        for number, sys_folder in known.items():
            disks.make_node(desk.nodes / gpt.node_name(disk.name, number), sys_folder)
    for disk in spec.disks:
        for partition in disks.read_table(disk.loop):
            if partition.kind == gpt.ROOT_TYPE:
                node = gpt.node_name(disk.name, partition.number)
                _mount_root(desk, node)
                if not any((desk.root / init).exists() for init in ("sbin/init", "usr/lib/systemd/systemd")):
                    kernel.unmount(desk.root)
                    raise NotBootableError(f"there is no init on {node}")
                say(f"booting from {node} of {disk.serial}")
                _write_command_line(desk, f"root=/dev/{node}")
                return argv(spec, desk, loads=("--boot",), partitions=True)
    raise NotBootableError("no disk has a root partition")


def _mount_root(desk: Desk, node: str) -> None:
    """Mount the partition under the name that the guest knows it by, so its mount table reads as on a real machine."""
    kernel.bind(desk.nodes, Path("/dev"))
    try:
        for kind in ROOT_FILE_SYSTEMS:
            with contextlib.suppress(OSError):
                kernel.mount(f"/dev/{node}", desk.root, kind=kind)
                return
    finally:
        kernel.unmount(Path("/dev"), lazy=True)
    raise NotBootableError(f"there is no file system on {node}")


def _write_command_line(desk: Desk, line: str) -> None:
    path = desk.folder / "boot" / "cmdline"
    path.write_text(f"{line}\n")
    path.chmod(0o444)


def _download(spec: MachineSpec, uri: str, image: Path, say: Say) -> None:
    nic = spec.ports[0]
    with kernel.inside(spec.namespace):
        ip.batch([f"link set {nic.nic} up"])
        lease = dhcp.ask(nic.nic, nic.mac, machine=spec.uuid)
        if lease is None:
            raise NotBootableError(f"no DHCP answer on {nic.nic}")
        say(f"{nic.nic}: {lease.address}/{lease.prefix} from {lease.server}")
        gateway = f"default via {lease.gateway} dev {nic.nic}" if lease.gateway else ""
        ip.batch(
            [f"addr add {lease.address}/{lease.prefix} dev {nic.nic}"] + ([f"route add {gateway}"] if gateway else [])
        )
        try:
            wanted = uri or lease.boot_uri
            if not wanted:
                raise NotBootableError("neither the BMC nor DHCP names a boot file")
            size = fetch.fetch(wanted, image)
            say(f"{size >> 10} KiB over HTTP")
        finally:
            ip.batch([f"addr flush dev {nic.nic}", f"link set {nic.nic} down"], force=True)


def _copy_from_medium(medium: str, image: Path, say: Say) -> None:
    done = subprocess.run(
        ["mcopy", "-n", "-i", medium, "::/EFI/BOOT/BOOTX64.EFI", str(image)],
        capture_output=True,
        env={**os.environ, "MTOOLS_SKIP_CHECK": "1"},
        check=False,
    )
    if done.returncode != 0:
        raise NotBootableError("there is no /EFI/BOOT/BOOTX64.EFI on the virtual medium")
    say("booting from virtual media")


def _load_image(spec: MachineSpec, desk: Desk, image: Path, say: Say) -> list[str]:
    """Lay the image's initrd out as a RAM disk."""
    content = memoryview(image.read_bytes())
    image.unlink()
    parts = uki.read(content)
    lower = initrd.tree(parts.initrd, Path(spec.cache))
    _write_command_line(desk, parts.command_line)
    for name in ("lower", "upper", "work"):
        (desk.folder / name).mkdir(exist_ok=True)
    kernel.bind(lower, desk.folder / "lower")
    options = ",".join(f"{name}dir={desk.folder}/{name}" for name in ("lower", "upper", "work"))
    kernel.mount("ramdisk", desk.root, kind="overlay", options=options)
    (desk.root / "usr").mkdir(exist_ok=True)
    if not (desk.root / "init").exists():
        raise NotBootableError("there is no /init in the boot image")
    say("starting the boot image")
    return argv(spec, desk, loads=("/init",), partitions=False)
