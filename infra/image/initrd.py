"""Makes the two initial RAM disks: the one that finds the root on a disk, and the one that is the deploy image."""

from pathlib import Path

from infra.image import recipe
from infra.image.chamber import FILES, inside
from infra.image.closure import merged_links, programs, python_modules
from infra.image.cpio import Entry, device, extend, file, folder, link, pack
from infra.image.modules import Kernel, initial
from pachon.errors import PermanentError

BUSYBOX = "usr/bin/busybox"
DHCP_SCRIPT = "etc/udhcpc/default.script"
FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var")
AGENT = "usr/lib/pachon/agent"
USERS = b"root:x:0:0:root:/root:/bin/sh\n"


def disk(tree: Path, kernel: Kernel) -> bytes:
    """Archive of the RAM disk on a machine's own disk."""
    return pack(
        [
            *_ground(tree, recipe.DISK_PROGRAMS),
            *initial(kernel, network=False),
            _script("init", "disk-init.sh"),
        ],
        epoch_seconds=recipe.EPOCH_SECONDS,
    )


def deploy_ground(tree: Path, kernel: Kernel) -> bytes:
    """Archive of the RAM disk of the deploy image, all but the agent."""
    return pack(
        [
            *_ground(tree, recipe.DEPLOY_PROGRAMS),
            *python_modules(tree),
            *initial(kernel, network=True),
            _script("init", "deploy-init.sh"),
            _script(DHCP_SCRIPT, "dhcp-lease.sh"),
            file("etc/passwd", USERS),
            file("etc/group", b"root:x:0:\n"),
            file("etc/nsswitch.conf", b"hosts: files dns\npasswd: files\ngroup: files\n"),
            file("etc/hosts", b"127.0.0.1 localhost\n"),
            file("etc/mke2fs.conf", (tree / "etc" / "mke2fs.conf").read_bytes()),
        ],
        epoch_seconds=recipe.EPOCH_SECONDS,
    )


def deploy(ground: bytes, *, agent: Path) -> bytes:
    """The archive with the modules of the agent's folder in it."""
    modules = sorted(agent.glob("*.py"))
    if not modules:
        raise PermanentError(f"there is no agent in {agent}", cure="use a whole checkout")
    entries = [folder(AGENT), *(file(f"{AGENT}/{module.name}", module.read_bytes()) for module in modules)]
    return extend(ground, entries, epoch_seconds=recipe.EPOCH_SECONDS)


def compress(archive: Path, target: Path) -> None:
    """Write the archive as one zstd frame, which is what a kernel takes."""
    inside(["zstd", "-q", "-f", "-7", "-T0", "--no-check", archive, "-o", target])


def _ground(tree: Path, wanted: tuple[str, ...]) -> list[Entry]:
    """Folders, consoles, busybox under all its names, and the real programs instead of busybox's of the same name."""
    chosen = [*programs(tree, wanted), file(BUSYBOX, (tree / BUSYBOX).read_bytes(), executable=True)]
    taken = {entry.path.rsplit("/", 1)[-1] for entry in chosen}
    applets = inside(["chroot", tree, "/bin/busybox", "--list"], tree=tree).stdout.split()
    aliases = {"mkfs.ext4": "mke2fs", "fsck.ext4": "e2fsck", "mkfs.vfat": "mkfs.fat", "python3.11": "python3"}
    return [
        *merged_links(),
        *(folder(name, 0o1777 if name == "tmp" else 0o755) for name in (*FOLDERS, "usr/sbin", "usr/lib64", "usr/lib")),
        device("dev/console", 5, 1),
        device("dev/null", 1, 3),
        *(link(f"usr/bin/{name}", "busybox") for name in applets if name not in taken and name != "busybox"),
        *(link(f"usr/sbin/{name}", other) for name, other in aliases.items() if f"usr/sbin/{other}" in _paths(chosen)),
        *(link(f"usr/bin/{name}", other) for name, other in aliases.items() if f"usr/bin/{other}" in _paths(chosen)),
        file("usr/lib/pachon/load-modules.sh", (FILES / "load-modules.sh").read_bytes()),
        *chosen,
    ]


def _paths(entries: list[Entry]) -> set[str]:
    return {entry.path for entry in entries}


def _script(path: str, name: str) -> Entry:
    return file(path, (FILES / name).read_bytes(), executable=True)
