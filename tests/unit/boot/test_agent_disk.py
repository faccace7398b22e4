"""The agent's work on a real block device: a loop device of a sparse file."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.boot.agent import disk as disks
from infra.boot.agent.console import TroubleError, run
from infra.boot.agent.disk import ROOT_TYPE, empty, finish, grow, mounted, partition, spoil
from infra.boot.agent.host import put
from infra.boot.agent.machine import size_of

pytestmark = pytest.mark.real

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A disk of 600 MiB with old content."""
    monkeypatch.setattr(disks, "NODES", tmp_path)
    file = tmp_path / "disk.img"
    with file.open("wb") as content:
        content.write(b"old" * MIB)
        content.truncate(600 * MIB)
    done = subprocess.run(["losetup", "-f", "--show", file], capture_output=True, text=True, check=True)
    node = done.stdout.strip()
    try:
        yield node
    finally:
        subprocess.run(["partx", "-d", node], capture_output=True, check=False)
        subprocess.run(["losetup", "-d", node], check=True)


def types(disk: str) -> str:
    return subprocess.run(["sfdisk", "-d", disk], capture_output=True, text=True, check=True).stdout


def test_a_disk_is_partitioned_twice_in_a_row_and_only_finished_ones_have_a_root(disk: str) -> None:
    partition(disk, 100 * MIB)
    nodes = partition(disk, 100 * MIB)
    assert size_of(nodes[0]) == 256 * MIB
    assert size_of(nodes[1]) > 300 * MIB
    assert ROOT_TYPE not in types(disk)
    finish(disk, nodes)
    assert ROOT_TYPE in types(disk)
    spoil(disk, nodes)
    done = subprocess.run(["wipefs", "-n", disk], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_a_disk_that_is_too_small_is_left_alone(disk: str) -> None:
    with pytest.raises(TroubleError, match=r"too small: 600 MiB, needed are 720 MiB") as caught:
        partition(disk, 400 * MIB)
    assert caught.value.kind == "disk"
    with Path(disk).open("rb") as content:
        assert content.read(3) == b"old"


def test_a_disk_in_use_is_left_alone(disk: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    (tmp_path / "m").mkdir()
    subprocess.run(["mount", disk, tmp_path / "m"], check=True)
    try:
        with pytest.raises(TroubleError, match="in use"):
            partition(disk, 100 * MIB)
    finally:
        subprocess.run(["umount", tmp_path / "m"], check=True)


def test_an_image_grows_to_its_partition_with_an_identity_of_its_own(disk: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as content:
        content.truncate(32 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    before = run("blkid", "-o", "value", "-s", "UUID", image)
    _, root = partition(disk, 32 * MIB)
    empty(root, 32 * MIB)
    with image.open("rb") as source, Path(root).open("r+b") as target:
        target.write(source.read())
    grow(root)
    assert run("blkid", "-o", "value", "-s", "UUID", root) != before
    with mounted(root, "ext4", tmp_path / "root") as there:
        put(there, "/etc/x", "y")
        assert int(run("df", "--output=size", "-m", there).split()[-1]) > 250
