"""A volume in a storage pool of the host: btrfs or xfs, mounted by systemd."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra.provider.programs.fence import Call, RefusalError, guarded, run, write_whole

ATTRIBUTE = "user.pachon"
UNITS = Path("/etc/systemd/system")


def device(disk: Call) -> str:
    """The disk with that serial; its name counts only where the system knows no serials."""
    by_id = Path("/dev/disk/by-id")
    if by_id.is_dir():
        for path in sorted(by_id.iterdir()):
            if path.name == disk["serial"] or path.name.endswith("_" + disk["serial"]):
                return str(path.resolve())
    for name in sorted(path.name for path in Path("/sys/block").iterdir()):
        for place in ("serial", "device/serial"):
            path = Path("/sys/block") / name / place
            with contextlib.suppress(OSError):
                if path.read_text().strip() == str(disk["serial"]):
                    return f"/dev/{name}"
    raise RefusalError(
        f"it has no disk with serial {disk['serial']} ({disk['name']})",
        "correct the hardware tables, or replace the disk",
    )


def label(call: Call) -> str:
    """Label of the pool's file system (xfs allows twelve letters)."""
    name = f"pachon-{call['pool']}"
    return name[:12] if call["file_system"] == "xfs" else name


def contents(node: str) -> tuple[str, str]:
    """(file system, label) on the disk, both empty if it is blank."""
    told = dict(
        line.partition("=")[::2]
        for line in run("blkid", "-p", "-o", "export", node, check=False).splitlines()
        if "=" in line
    )
    return told.get("TYPE") or told.get("PTTYPE") or "", told.get("LABEL", "")


def ensure_pool(call: Call, nodes: list[str]) -> None:
    """Make the pool's file system on blank disks; anything else on them is left alone."""
    found = [contents(node) for node in nodes]
    if all(each == (call["file_system"], label(call)) for each in found):
        return
    strangers = [
        f"{node} holds {kind} {name}".strip()
        for node, (kind, name) in zip(nodes, found, strict=True)
        if kind and (kind, name) != (call["file_system"], label(call))
    ]
    if strangers:
        raise RefusalError("; ".join(strangers), "wipe the disk by hand if nothing on it is needed")
    if any(kind for kind, _ in found):
        blank = ", ".join(node for node, (kind, _) in zip(nodes, found, strict=True) if not kind)
        raise RefusalError(
            f"pool {call['pool']} stands, but its disk {blank} is blank",
            "put the disk into the pool with 'btrfs replace' (or 'btrfs device add'), then run again",
        )
    if call["file_system"] == "xfs":
        if len(nodes) > 1:
            raise RefusalError(f"an xfs pool has one disk, not {len(nodes)}", "use btrfs, or one pool per disk")
        run("mkfs.xfs", "-q", "-L", label(call), nodes[0])
    else:
        profile = "raid1" if call["mirrored"] else "single"
        options = ["-d", profile, "-m", "raid1" if call["mirrored"] else "dup" if len(nodes) == 1 else "raid1"]
        run("mkfs.btrfs", "-q", "-f", "-L", label(call), *options, *nodes)


def mount_options(call: Call, nodes: list[str]) -> str:
    """Options of the volume's mount; all members are named since nobody may have scanned them."""
    if call["file_system"] == "xfs":
        return "defaults"
    return ",".join(["subvol=/" + call["volume"], *("device=" + node for node in nodes)])


@contextlib.contextmanager
def pool_top(call: Call, nodes: list[str]) -> Iterator[Path]:
    """The pool's top folder, mounted for the length of a block."""
    place = Path(tempfile.mkdtemp(prefix="pachon-pool-", dir="/run"))
    options = "defaults"
    if call["file_system"] == "btrfs":
        options = ",".join(["subvolid=5", *("device=" + node for node in nodes)])
    run("mount", "-t", call["file_system"], "-o", options, nodes[0], place)
    try:
        yield place
    finally:
        run("umount", place)
        place.rmdir()


def folder_of(call: Call, top: Path) -> Path:
    """The volume's folder in its pool."""
    return top / call["volume"] if call["file_system"] == "btrfs" else top


def stamp_on(folder: Path) -> str:
    """The stamp that the folder carries."""
    try:
        return os.getxattr(folder, ATTRIBUTE).decode()
    except OSError:
        return ""


def unit_of(mount: str) -> str:
    """Name of the mount's unit."""
    return run("systemd-escape", "--path", "--suffix=mount", mount).strip()


def mounted(mount: str) -> bool:
    """Whether something is mounted there."""
    return any(line.split(" ")[4] == mount for line in Path("/proc/self/mountinfo").read_text().splitlines())


def limit_of(call: Call, top: Path) -> int:
    """The volume's limit in bytes (btrfs), or the size of its file system."""
    folder = folder_of(call, top)
    if call["file_system"] == "xfs":
        facts = os.statvfs(folder)
        return facts.f_blocks * facts.f_frsize
    number = run("btrfs", "inspect-internal", "rootid", folder).strip()
    for line in run("btrfs", "qgroup", "show", "--raw", "-re", top, check=False).splitlines():
        fields = line.split()
        if fields and fields[0] == "0/" + number and fields[3].isdigit():
            return int(fields[3])
    return 0


def seen(call: Call, top: Path) -> Call:
    """The volume as it stands."""
    folder = folder_of(call, top)
    if not folder.exists():
        return {"stamp": "", "mounted": False}
    return {"stamp": stamp_on(folder), "size_bytes": limit_of(call, top), "mounted": mounted(call["mount"])}


def read(call: Call) -> Call:
    """The volume as it stands, without touching anything."""
    nodes = [device(disk) for disk in call["disks"]]
    if any(contents(node) != (call["file_system"], label(call)) for node in nodes):
        return {"stamp": "", "mounted": False}
    with pool_top(call, nodes) as top:
        return seen(call, top)


def held_in(folder: Path) -> list[str]:
    """Names of what lies in the volume."""
    return [path.name for path in folder.iterdir() if path.name != "lost+found"]


def holds(call: Call) -> Call:
    """How much lies in the volume; nothing where there is none of that stamp."""
    nodes = [device(disk) for disk in call["disks"]]
    if any(contents(node) != (call["file_system"], label(call)) for node in nodes):
        return {"entries": 0}
    with pool_top(call, nodes) as top:
        folder = folder_of(call, top)
        if not folder.exists() or stamp_on(folder) != call["stamp"]:
            return {"entries": 0}
        held = held_in(folder)
        return {"entries": len(held), "such_as": min(held, default="")}


def apply(call: Call) -> Call:
    """Make, limit and mount the volume."""
    nodes = [device(disk) for disk in call["disks"]]
    ensure_pool(call, nodes)
    with pool_top(call, nodes) as top:
        folder = folder_of(call, top)
        if call["file_system"] == "btrfs":
            run("btrfs", "quota", "enable", top)
            if not folder.exists():
                run("btrfs", "subvolume", "create", folder)
        stamp = stamp_on(folder)
        if stamp and stamp != call["stamp"]:
            raise RefusalError(f"{call['volume']} carries {stamp}", "remove that volume first")
        if not stamp and any(path.name != "lost+found" for path in folder.iterdir()):
            raise RefusalError(
                f"{call['volume']} holds data and no stamp of ours",
                "move the data away, or give the volume a new name",
            )
        if not stamp:  # a volume that is full takes not even an attribute
            os.setxattr(folder, ATTRIBUTE, call["stamp"].encode())
        if call["file_system"] == "btrfs":
            run("btrfs", "qgroup", "limit", str(call["size_bytes"]), folder)
        elif limit_of(call, top) > call["size_bytes"] * 1.1:
            raise RefusalError(
                f"an xfs volume is its whole disk of {limit_of(call, top) >> 30} GiB, not {call['size_bytes'] >> 30}",
                "state the disk's size, or use btrfs",
            )
        ensure_mounted(call, nodes)
        return seen(call, top)


def ensure_mounted(call: Call, nodes: list[str]) -> None:
    """Have it mounted where it is to be, now and after a restart."""
    old = call.get("old_mount")
    if old and old != call["mount"]:
        drop_mount(old)
    unit = unit_of(call["mount"])
    text = f"[Unit]\nDescription=Pachon volume {call['volume']}\n\n[Mount]\nWhat={nodes[0]}\nWhere={call['mount']}\n"
    text += f"Type={call['file_system']}\nOptions={mount_options(call, nodes)}\n"
    text += "\n[Install]\nWantedBy=local-fs.target\n"
    Path(call["mount"]).mkdir(parents=True, exist_ok=True)
    if write_whole(UNITS / unit, text):
        run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--quiet", unit)
    run("systemctl", "start", unit)


def drop_mount(mount: str) -> None:
    """Take a mount and its unit away."""
    unit = unit_of(mount)
    if (UNITS / unit).exists():
        run("systemctl", "disable", "--quiet", unit, check=False)
        run("systemctl", "stop", unit)
        (UNITS / unit).unlink()
        run("systemctl", "daemon-reload")


def remove(call: Call) -> Call:
    """Remove the volume if it carries exactly this stamp, and is empty or may go with its data."""
    nodes = [device(disk) for disk in call["disks"]]
    if any(contents(node) != (call["file_system"], label(call)) for node in nodes):
        return {"stamp": ""}
    with pool_top(call, nodes) as top:
        folder = folder_of(call, top)
        if not folder.exists() or stamp_on(folder) != call["stamp"]:
            return {"stamp": ""}
        held = held_in(folder)
        if held and not call.get("data_too"):
            return {"refused": f"{len(held)} entries, such as {min(held)}"}
        drop_mount(call["mount"])
        if call["file_system"] == "btrfs":
            run("btrfs", "subvolume", "delete", folder)
            return {"stamp": ""}
    run("wipefs", "-q", "-a", nodes[0])
    return {"stamp": ""}


def main(call: Call) -> Call:
    """What stands after the call's verb."""
    return guarded(call, {"apply": apply, "holds": holds, "remove": remove, "read": read}[call["verb"]])
