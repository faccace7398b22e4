"""Makes the raw ext4 file system of a tree, as small as it can be and ready to grow onto any disk."""

import os
from pathlib import Path

from infra.image import recipe
from infra.image.artefact import file_digest
from infra.image.chamber import inside

UUID = "5ac40e7a-9d1c-4a3e-8c53-70616368306e"
"""Of the image; each machine gives its own file system a new one."""
BLOCK_BYTES = 4096
JOURNAL_MIB = 32
SLACK = 1.06
FIXED_BYTES = 64 << 20
GROWS_TO = "4T"
BYTES_PER_INODE = 32768


def make_root(tree: Path, raw: Path) -> None:
    """Write the file system; the agent checks it, grows it and gives it a new UUID."""
    content, inodes = measure(tree)
    size = int(content * SLACK) + (JOURNAL_MIB << 20) + FIXED_BYTES
    blocks = size // BLOCK_BYTES
    ratio = min(BYTES_PER_INODE, size // (inodes + 2000))
    extended = f"hash_seed={UUID},resize={GROWS_TO},root_owner=0:0,lazy_itable_init=0,nodiscard"
    shape = ("-b", str(BLOCK_BYTES), "-i", str(ratio), "-m", "1", "-J", f"size={JOURNAL_MIB}", "-E", extended)
    features = ("-O", "metadata_csum_seed,^orphan_file", "-L", "pachon-root", "-U", UUID)
    inside(
        ["mke2fs", "-q", "-F", "-t", "ext4", *shape, *features, "-d", tree, raw, str(blocks)],
        environment={"E2FSPROGS_FAKE_TIME": str(recipe.EPOCH_SECONDS)},
    )


def compress(raw: Path, target: Path) -> str:
    """Write the file system in zstd; ``sha256:<hex>`` of what it unpacks to."""
    inside(["zstd", "-q", "-10", "-T0", raw, "-o", target])
    return file_digest(raw)


def measure(tree: Path) -> tuple[int, int]:
    """(bytes in whole blocks, number of inodes) of a tree."""
    total, inodes = 0, set()
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            facts = os.lstat(f"{folder}/{name}")
            if facts.st_ino not in inodes:
                inodes.add(facts.st_ino)
                total += -(-facts.st_size // BLOCK_BYTES) * BLOCK_BYTES
    return total, len(inodes)
