"""Makes the ``kernel`` artefact: boot loader, kernel with its small RAM disk, and modules."""

from pathlib import Path

from infra.image import initrd, recipe, uki
from infra.image.artefact import file_digest
from infra.image.chamber import inside
from infra.image.modules import Kernel

STUBS = "usr/lib/systemd/boot/efi"
CMDLINE = "console=tty0 console=ttyS0,115200 panic=30 quiet"
LOADER = "timeout 0\neditor no\ndefault pachon.efi\n"


def os_release(kernel: Kernel, name: str) -> str:
    """What the boot loader shows of an image."""
    return f'ID=pachon\nNAME="Pachon"\nPRETTY_NAME="Pachon {name}"\nVERSION_ID="{kernel.version}"\n'


def make_kernel(tree: Path, kernel: Kernel, boot: Path, target: Path, *, work: Path) -> tuple[int, str]:
    """Write the archive; size and digest of the tar in it. ``boot`` is the unpacked package of stub and loader."""
    root = work / "content"
    loader, linux = root / "esp" / "EFI" / "BOOT", root / "esp" / "EFI" / "Linux"
    for folder in (loader, linux, root / "esp" / "loader"):
        folder.mkdir(parents=True)
    (loader / "BOOTX64.EFI").write_bytes((boot / STUBS / "systemd-bootx64.efi").read_bytes())
    (root / "esp" / "loader" / "loader.conf").write_text(LOADER)
    parts = {name: work / name.lstrip(".") for name in (".osrel", ".cmdline", ".initrd")}
    parts[".osrel"].write_text(os_release(kernel, "host"))
    parts[".cmdline"].write_bytes(uki.command_line(CMDLINE, room=False))
    archive = work / "initrd.cpio"
    archive.write_bytes(initrd.disk(tree, kernel))
    initrd.compress(archive, parts[".initrd"])
    uki.build({**parts, ".linux": kernel.image}, linux / "pachon.efi", stub=boot / STUBS / "linuxx64.efi.stub")
    modules = root / "modules" / "lib" / "modules"
    modules.mkdir(parents=True)
    _squeeze(kernel, modules)
    plain = work / "kernel.tar"
    _pack(root, kernel.version, plain)
    inside(["zstd", "-q", "-6", "-T0", plain, "-o", target])
    return plain.stat().st_size, file_digest(plain)


def _squeeze(kernel: Kernel, target: Path) -> None:
    """The modules compressed one by one, so that a slow machine has a quarter to write, and indexed."""
    inside(["cp", "-a", kernel.modules, target / kernel.version])
    names = [str(path) for path in sorted((target / kernel.version).rglob("*.ko"))]
    inside(["zstd", "-q", "-9", "--rm", *names])
    inside(["depmod", "-b", target.parent.parent, kernel.version])


def _pack(root: Path, version: str, target: Path) -> None:
    """Pack without entries for ``modules/lib`` and ``modules/lib/modules``: on a host /lib is a link."""
    same = ("--sort=name", "--numeric-owner", "--owner=0", "--group=0", f"--mtime=@{recipe.EPOCH_SECONDS}")
    inside(["tar", *same, "-cf", target, "-C", root, "esp", f"modules/lib/modules/{version}"])
