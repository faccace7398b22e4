"""Unified kernel images as the boot server and the lab's firmware read them."""

import struct
from pathlib import Path

import pytest

from infra.image import uki
from pachon.errors import PermanentError, UsageError


def portable_executable(parts: dict[str, bytes]) -> bytes:
    """A PE file with these sections and nothing else."""
    head = bytearray(1024)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    head[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<H", head, 0x86, len(parts))
    struct.pack_into("<H", head, 0x94, 240)
    table, offset, body = 0x80 + 24 + 240, len(head), b""
    for index, (name, content) in enumerate(parts.items()):
        padded = content + b"\0" * (-len(content) % 512)
        where = table + 40 * index
        struct.pack_into("<8sIIII", head, where, name.encode(), len(content), 0x1000, len(padded), offset)
        offset += len(padded)
        body += padded
    return bytes(head) + body


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.efi"
    parts = {".osrel": b"ID=x\n", ".cmdline": uki.command_line("console=ttyS0", room=True), ".initrd": b"i" * 700}
    path.write_bytes(portable_executable(parts))
    return path


def test_sections_have_the_size_of_their_content(image: Path) -> None:
    sections = uki.sections(image)
    content = image.read_bytes()
    initrd = sections[".initrd"]
    assert content[initrd.offset : initrd.offset + initrd.size] == b"i" * 700
    assert sections[".cmdline"].size == uki.CMDLINE_BYTES


def test_arguments_are_written_behind_the_fixed_words(image: Path) -> None:
    offset, written = uki.arguments(image, "pachon.token=abc")
    content = bytearray(image.read_bytes())
    content[offset : offset + len(written)] = written
    section = uki.sections(image)[".cmdline"]
    line = bytes(content[section.offset : section.offset + section.size])
    assert len(content) == image.stat().st_size
    assert line.rstrip(b"\0").decode().split() == ["console=ttyS0", "pachon.args=", "pachon.token=abc"]


def test_arguments_written_twice_leave_nothing_of_the_first(image: Path) -> None:
    offset, first = uki.arguments(image, "pachon.token=" + "a" * 500)
    content = bytearray(image.read_bytes())
    content[offset : offset + len(first)] = first
    image.write_bytes(content)
    offset, second = uki.arguments(image, "pachon.token=b")
    content[offset : offset + len(second)] = second
    assert b"aaa" not in content


@pytest.mark.parametrize("words", ["x" * 1024, "pachon.token=ü", "a\nb"])
def test_arguments_that_do_not_fit_are_refused(image: Path, words: str) -> None:
    with pytest.raises(UsageError):
        uki.arguments(image, words)


def test_an_image_without_room_says_so(tmp_path: Path) -> None:
    path = tmp_path / "host.efi"
    path.write_bytes(portable_executable({".cmdline": uki.command_line("quiet", room=False)}))
    with pytest.raises(PermanentError, match="no room"):
        uki.cmdline_range(path)


@pytest.mark.parametrize("content", [b"", b"MZ", b"<html>not found</html>" * 300])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.efi"
    path.write_bytes(content)
    with pytest.raises(PermanentError, match="not a unified kernel image"):
        uki.sections(path)
