"""The deploy image is made personal without changing anything but its command line."""

import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.boot import media
from pachon.errors import PermanentError

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench


def test_only_the_command_line_differs_and_it_keeps_what_was_baked_in(bench: "Bench") -> None:
    slot = media.find_cmdline(bench.images.deploy.path)
    patched = media.patch(slot, "pachon.token=abc")
    content = b"".join(media.chunks(slot, patched))
    original = bench.images.deploy.path.read_bytes()
    assert len(content) == len(original)
    assert content[: slot.offset] == original[: slot.offset]
    assert content[slot.offset + slot.size :] == original[slot.offset + slot.size :]
    words = content[slot.offset : slot.offset + slot.size].rstrip(b"\0 ").decode()
    assert words == "console=ttyS0 pachon.token=abc"


def test_patch_over_a_chunk_border_is_whole(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "CHUNK_BYTES", 700)
    slot = media.find_cmdline(bench.images.deploy.path)
    patched = media.patch(slot, "x" * 900)
    content = b"".join(media.chunks(slot, patched))
    assert content[slot.offset : slot.offset + slot.size] == patched


def test_a_command_line_too_long_is_refused_not_cut(bench: "Bench") -> None:
    slot = media.find_cmdline(bench.images.deploy.path)
    with pytest.raises(PermanentError, match="has room for 1024"):
        media.patch(slot, "x" * 1020)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"MZ" + b"\0" * 100)
    with pytest.raises(PermanentError, match="no unified kernel image"):
        media.find_cmdline(tmp_path / "x")


def test_disk_for_virtual_media_contains_the_personal_image(bench: "Bench", tmp_path: Path) -> None:
    uki = media.find_cmdline(bench.images.deploy.path)
    slot = asyncio.run(media.disk_around(uki, tmp_path / "disk.img"))
    patched = media.patch(slot, "pachon.token=abc")
    (tmp_path / "mine.img").write_bytes(b"".join(media.chunks(slot, patched)))
    subprocess.run(
        ["mcopy", "-n", "-i", tmp_path / "mine.img", "::/EFI/BOOT/BOOTX64.EFI", tmp_path / "out.efi"], check=True
    )
    assert (tmp_path / "out.efi").read_bytes() == b"".join(media.chunks(uki, patched))
