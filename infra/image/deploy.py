"""Makes the deploy image: one unified kernel image that every machine boots over the network to be deployed."""

from pathlib import Path

from infra.image import esp, initrd, uki
from infra.image.modules import Kernel

CMDLINE = "console=tty0 console=ttyS0,115200 panic=30 loglevel=4"


def make_deploy(tree: Path, kernel: Kernel, boot: Path, target: Path, *, agent: Path, work: Path) -> int:
    """Write the image; size in bytes of kernel and unpacked RAM disk."""
    parts = {name: work / name.lstrip(".") for name in (".osrel", ".cmdline", ".initrd")}
    parts[".osrel"].write_text(esp.os_release(kernel, "deploy"))
    parts[".cmdline"].write_bytes(uki.command_line(CMDLINE, room=True))
    archive = work / "initrd.cpio"
    archive.write_bytes(initrd.deploy(tree, kernel, agent=agent))
    initrd.compress(archive, parts[".initrd"])
    uki.build({**parts, ".linux": kernel.image}, target, stub=boot / esp.STUBS / "linuxx64.efi.stub")
    return archive.stat().st_size + kernel.image.stat().st_size
