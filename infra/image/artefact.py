"""What a bake hands on: files named by the digest of their content, and the set that one flavour needs."""

import hashlib
from pathlib import Path

from pachon.errors import PermanentError
from pachon.model.base import Frozen


class Artefact(Frozen):
    """A file in the cache that is never changed once it is there."""

    name: str
    """For people, such as ``root-server.ext4.zst``."""
    path: Path
    digest: str
    """``sha256:<hex>`` of the file."""
    size_bytes: int
    raw_size_bytes: int
    """Unpacked: the file system, the tar archive, the sections of the unified kernel image."""
    raw_digest: str
    """``sha256:<hex>`` of what it unpacks to; the same as ``digest`` for what is not packed."""


class ImageSet(Frozen):
    """All that is needed to put one flavour of host onto a machine."""

    flavour: str
    root: Artefact
    """Raw ext4 file system in zstd: content of the GPT root partition."""
    kernel: Artefact
    """tar.zst with ``esp/`` (boot loader and kernel) and ``modules/lib/modules/<version>/``."""
    deploy: Artefact
    """The unified kernel image that machines boot over the network to be deployed."""
    kernel_version: str
    packages_digest: str
    """``sha256:<hex>`` of the list of installed packages with their versions (``packages``)."""
    packages: Path
    """``name version`` of every package in the golden tree, one a line."""

    @property
    def artefacts(self) -> tuple[Artefact, ...]:
        """Root, kernel and deploy."""
        return (self.root, self.kernel, self.deploy)


def file_digest(path: Path) -> str:
    """``sha256:<hex>`` of a file's content."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def is_whole(artefact: Artefact) -> bool:
    """Whether the file is there in its full size; cheap, reads no content."""
    try:
        return artefact.path.stat().st_size == artefact.size_bytes
    except OSError:
        return False


def verify(images: ImageSet) -> None:
    """Read every file and compare it with its digest.

    Raises:
        PermanentError: a file is missing or not what its name says.
    """
    for artefact in images.artefacts:
        if not is_whole(artefact) or file_digest(artefact.path) != artefact.digest:
            raise PermanentError(
                f"{artefact.path} is not {artefact.digest}",
                cure="remove it and run again: it will be baked anew",
            )
