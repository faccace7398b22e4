"""Small files that stand for baked images where nothing can be baked: of the right form, with nothing in them."""

import hashlib
import struct
from pathlib import Path

from infra.image.artefact import Artefact, ImageSet

RAW_BYTES = 64 << 20
"""Size that the root file system claims to have."""
CMDLINE_BYTES = 1024
_ALIGN = 512


def ensure(flavour: str, *, cache: Path) -> ImageSet:
    """The stand-ins of one flavour, made once."""
    folder = cache / "twin"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = f"root file system of the flavour {flavour}, for a twin: no operating system\n".encode()
    kernel = b"kernel and boot loader for a twin: nothing to boot\n"
    packages = folder / f"packages-{flavour}"
    packages.write_text("")
    return ImageSet(
        flavour=flavour,
        root=_artefact(folder, f"root-{flavour}", root, raw_size_bytes=RAW_BYTES),
        kernel=_artefact(folder, "kernel", kernel),
        deploy=_artefact(folder, "deploy.efi", deploy_image()),
        kernel_version="0-twin",
        packages_digest=f"sha256:{hashlib.sha256(b'').hexdigest()}",
        packages=packages,
    )


def deploy_image() -> bytes:
    """A PE file with the sections of a unified kernel image: the command line has room to be filled in."""
    sections = {
        b".cmdline": b"console=ttyS0".ljust(CMDLINE_BYTES),
        b".linux": b"no kernel",
        b".initrd": b"no initrd",
    }
    header = bytearray(_ALIGN)
    header[0:2] = b"MZ"
    struct.pack_into("<I", header, 0x3C, 0x40)
    header[0x40:0x44] = b"PE\0\0"
    struct.pack_into("<HH", header, 0x44, 0x8664, len(sections))
    body = b""
    for number, (name, content) in enumerate(sections.items()):
        offset = _ALIGN + len(body)
        padded = content.ljust(-(-len(content) // _ALIGN) * _ALIGN, b"\0")
        struct.pack_into("<8sIIII", header, 0x58 + 40 * number, name, len(content), offset, len(padded), offset)
        body += padded
    return bytes(header) + body


def _artefact(folder: Path, name: str, content: bytes, *, raw_size_bytes: int = 0) -> Artefact:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = folder / f"{name}-{digest[7:19]}"
    if not path.exists() or path.read_bytes() != content:
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)
    return Artefact(
        name=name,
        path=path,
        digest=digest,
        size_bytes=len(content),
        raw_size_bytes=raw_size_bytes or len(content),
        raw_digest=digest,
    )
