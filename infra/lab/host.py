"""What the lab asks of the machine that carries it: rights, programs, kernel features and one raised limit."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.lab import cgroups, firmware
from pachon.errors import MissingError
from pachon.model.facility import Facility

PROGRAMS = ("ip", "mcopy", "nft", "nsenter", "partx", "systemd-nspawn", "unshare", "zstd")
FIRMWARE_PROGRAMS = ("qemu-system-x86_64",)
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_SPARE = 128
INOTIFY_PER_MACHINE = 16

_NETWORK_TRIAL = (
    "ip link add name v0 type veth peer name v1 && ip link add name b0 type bridge && ip tuntap add t0 mode tap"
)
_FILTER_TRIAL = (
    "add table ip t; add chain ip t c { type nat hook postrouting priority srcnat; }; "
    "add rule ip t c ip saddr 192.0.2.1 snat to 192.0.2.2"
)
_MOUNT_TRIAL = (
    'mount -t tmpfs t "$0" && mkdir "$0/l" "$0/u" "$0/w" "$0/m" && '
    'mount -t overlay -o "lowerdir=$0/l,upperdir=$0/u,workdir=$0/w" o "$0/m"'
)


def missing(*, firmware_machines: bool = True) -> list[str]:
    """What this machine lacks for the lab, each in words for people; empty where a lab can come up."""
    if os.geteuid() != 0:
        return ["the rights of root (namespaces, mounts and loop devices need them)"]
    programs = PROGRAMS + (FIRMWARE_PROGRAMS if firmware_machines else ())
    lacking = [f"the program {name}" for name in programs if shutil.which(name) is None]
    if firmware_machines and firmware.first_existing(firmware.CODE_FILES) is None:
        lacking.append(f"UEFI firmware for QEMU ({firmware.CODE_FILES[0]}; Debian: package ovmf)")
    if not Path("/dev/loop-control").exists():
        lacking.append("loop devices (/dev/loop-control)")
    try:
        cgroups.hierarchies()
    except MissingError as error:
        lacking.append(f"cgroups: {error.message}")
    if lacking:
        return lacking
    lacking += _trial(["unshare", "--net", "sh", "-c", _NETWORK_TRIAL], "network namespaces with veth, bridge and tap")
    lacking += _trial(["unshare", "--net", "nft", _FILTER_TRIAL], "packet filters with translation of addresses")
    place = Path(tempfile.mkdtemp(prefix="pachon-trial-", dir="/run"))
    try:
        lacking += _trial(["unshare", "--mount", "sh", "-c", _MOUNT_TRIAL, str(place)], "mounts of tmpfs and overlay")
    finally:
        place.rmdir()
    return lacking


def _trial(argv: list[str], what: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return [] if done.returncode == 0 else [f"{what}: {done.stderr.strip() or done.returncode}"]


def require(facility: Facility) -> None:
    """Nothing, if this machine can carry the lab.

    Raises:
        MissingError: it cannot; says all that it lacks.
    """
    lacking = missing(firmware_machines=any(machine.model == "firmware" for machine in facility.machines))
    if lacking:
        raise MissingError(
            f"this machine cannot carry the lab: it lacks {'; '.join(lacking)}",
            cure="'pachon doctor' says how to get each; the twin of the lab runs without",
        )


def raise_inotify_limit(machines: int) -> str:
    """What was raised, in words; empty if the limit was high enough. Each booted system holds about ten instances."""
    needed = INOTIFY_SPARE + INOTIFY_PER_MACHINE * machines
    now = int(INOTIFY.read_text())
    if now >= needed:
        return ""
    INOTIFY.write_text(str(needed))
    return f"raised fs.inotify.max_user_instances from {now} to {needed}"
