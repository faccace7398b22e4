"""The smallest things that boot: a unified kernel image with busybox in it, and a disk with a root partition."""

import shutil
import subprocess
from pathlib import Path

STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")

INIT = """#!/bin/busybox sh
export PATH=/bin
[ -e /proc/self ] || busybox mount -t proc proc /proc
[ -e /sys/class ] || busybox mount -t sysfs sys /sys
[ -e /dev/ttyS0 ] || [ -e /run/host ] || busybox mount -t devtmpfs dev /dev
busybox --install -s /bin
echo "tiny: hello in $(date -u +%Y)"
echo "tiny: cmdline $(cat /proc/cmdline)"
echo "tiny: serial $(cat /run/host/dmi/product_serial 2>/dev/null || cat /sys/class/dmi/id/product_serial)"
for nic in /sys/class/net/*; do echo "tiny: nic ${nic##*/} $(cat $nic/address)"; done
for disk in /dev/disk/by-id/*; do echo "tiny: disk ${disk##*/} $(readlink -f $disk)"; done
trap 'echo "tiny: asked to stop"; poweroff -f' 38  # SIGRTMIN+4: systemd's poweroff
[ -x /tiny.sh ] && . /tiny.sh
for word in $(cat /proc/cmdline); do
  case "$word" in
    tiny.then=reboot) reboot -f ;;
    tiny.then=poweroff) poweroff -f ;;
    tiny.then=exit) exit 7 ;;
  esac
done
echo "tiny: staying"
while true; do sleep 1 & wait $!; done
"""


def _root(folder: Path, script: str) -> Path:
    root = folder / "tiny-root"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "dev", "etc", "proc", "sbin", "sys", "usr"):
        (root / name).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    (root / "etc" / "os-release").write_text("ID=tiny\n")
    for init in ("init", "sbin/init"):
        (root / init).write_text(INIT)
        (root / init).chmod(0o755)
    if script:
        (root / "tiny.sh").write_text(script)
        (root / "tiny.sh").chmod(0o755)
    return root


def initrd(folder: Path, *, script: str = "") -> Path:
    """An initrd of two archives, the second one compressed, as real ones are."""
    root = _root(folder, script)
    early = folder / "early"
    early.mkdir(exist_ok=True)
    (early / "early.txt").write_text("early\n")
    path = folder / "tiny.initrd"
    with path.open("wb") as out:
        for tree, compressed in ((early, False), (root, True)):
            names = "\n".join(str(each.relative_to(tree)) for each in sorted(tree.rglob("*")))
            archive = subprocess.run(
                ["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(), cwd=tree, stdout=-1, check=True
            ).stdout
            packed = subprocess.run(["zstd", "-1", "-q"], input=archive, stdout=-1, check=True).stdout
            out.write(packed if compressed else archive)
    return path


def uki(folder: Path, command_line: str, *, script: str = "", kernel: Path | None = None) -> Path:
    """A unified kernel image; without a kernel, one that only a container can boot."""
    line = folder / "cmdline"
    line.write_text(command_line.ljust(1024))
    if kernel is None:
        kernel = folder / "no-kernel"
        kernel.write_bytes(b"no kernel" * 100)
    target = folder / "boot.efi"
    sections = (
        (".cmdline", line, 0x30000),
        (".linux", kernel, 0x2000000),
        (".initrd", initrd(folder, script=script), 0x3000000),
    )
    argv = ["objcopy"]
    for name, file, address in sections:
        argv += ["--add-section", f"{name}={file}", "--change-section-vma", f"{name}={address:#x}"]
    subprocess.run([*argv, str(STUB), str(target)], check=True)
    return target


def write_disk(folder: Path, image: Path, *, script: str = "") -> None:
    """Put a partition table and a root partition with an init on the disk file."""
    root = _root(folder, script)
    subprocess.run(
        ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(image)],
        input="label: gpt\nsize=16MiB, type=uefi\ntype=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n",
        text=True,
        check=True,
        stdout=-1,
    )
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", str(root), "-E", f"offset={17 << 20}", "-F", str(image), "64M"], check=True
    )
