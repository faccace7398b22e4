"""Makes the raw ext4 file system of a tree, as small as it can be and ready to grow onto any disk."""

import os
from pathlib import Path

from infra.image import recipe
from infra.image.artefact import file_digest
from infra.image.chamber import inside

UUID = "5ac40e7a-9d1c-4a3e-8c53-70616368306e"
"""Of the image; each machine gives its own file system a new one."""
BLOCK_BYTES = 4096
ROOT_INODE = 2
FROZEN = {"E2FSPROGS_FAKE_TIME": str(recipe.EPOCH_SECONDS)}
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
        environment=FROZEN,
    )
    settle_times(raw, script=raw.with_suffix(".times"))


def settle_times(raw: Path, *, script: Path) -> None:
    """Set the two times of every file that ``mke2fs -d`` takes from the moment a tree was unpacked."""
    said = inside(["dumpe2fs", "-h", raw]).stdout
    facts = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    used = int(facts["Inode count"]) - int(facts["Free inodes"])
    moment = f"@{recipe.EPOCH_SECONDS}"
    numbers = (ROOT_INODE, *range(int(facts["First inode"]), used + 1))
    script.write_text("".join(f"sif <{number}> {name} {moment}\n" for number in numbers for name in ("atime", "ctime")))
    inside(["debugfs", "-w", "-f", script, raw], environment=FROZEN)


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
