"""Makes the deploy image: one unified kernel image that every machine boots over the network to be deployed.

In two steps, so that a changed agent costs seconds: the ground (everything but the agent), then the image.
"""

import shutil
from pathlib import Path

from infra.image import esp, initrd, uki
from infra.image.modules import Kernel

CMDLINE = "console=tty0 console=ttyS0,115200 panic=30 loglevel=4"
ARCHIVE = "initrd.cpio"
LINUX = "linux"
OS_RELEASE = "os-release"
STUB = "stub"


def make_ground(tree: Path, kernel: Kernel, boot: Path, target: Path) -> None:
    """Fill a new folder with the parts of the image, the agent apart."""
    target.mkdir()
    (target / ARCHIVE).write_bytes(initrd.deploy_ground(tree, kernel))
    (target / OS_RELEASE).write_text(esp.os_release(kernel, "deploy"))
    shutil.copyfile(kernel.image, target / LINUX)
    shutil.copyfile(boot / esp.STUBS / "linuxx64.efi.stub", target / STUB)


def make_deploy(ground: Path, target: Path, *, agent: Path, work: Path) -> int:
    """Write the image; size in bytes of kernel and unpacked RAM disk."""
    cmdline, archive, packed = work / "cmdline", work / ARCHIVE, work / "initrd"
    cmdline.write_bytes(uki.command_line(CMDLINE, room=True))
    archive.write_bytes(initrd.deploy((ground / ARCHIVE).read_bytes(), agent=agent))
    initrd.compress(archive, packed)
    parts = {".osrel": ground / OS_RELEASE, ".cmdline": cmdline, ".linux": ground / LINUX, ".initrd": packed}
    uki.build(parts, target, stub=ground / STUB)
    return archive.stat().st_size + parts[".linux"].stat().st_size
