"""The initial RAM disk's archive."""

import stat

from infra.image import cpio

ENTRIES = (
    cpio.file("usr/bin/tool", b"#!/bin/sh\n", executable=True),
    cpio.link("bin", "usr/bin"),
    cpio.device("dev/console", 5, 1),
    cpio.file("etc/odd", b"x"),
)


def test_folders_come_before_what_is_in_them() -> None:
    names = cpio.names(cpio.pack(ENTRIES, epoch_seconds=1))
    assert names == ("bin", "dev", "dev/console", "etc", "etc/odd", "usr", "usr/bin", "usr/bin/tool")


def test_the_same_entries_in_any_order_give_the_same_bytes() -> None:
    assert cpio.pack(ENTRIES, epoch_seconds=1) == cpio.pack(reversed(ENTRIES), epoch_seconds=1)


def test_a_record_is_as_the_kernel_reads_it() -> None:
    archive = cpio.pack([cpio.file("a", b"12345", executable=True)], epoch_seconds=7)
    fields = [int(archive[6 + 8 * index : 14 + 8 * index], 16) for index in range(13)]
    assert archive[:6] == b"070701"
    assert fields[1] == stat.S_IFREG | 0o755
    assert (fields[2], fields[3]) == (0, 0), "owner"
    assert fields[5] == 7, "time"
    assert fields[6] == 5, "size"
    assert fields[11] == 2, "name with its zero"
    assert archive[110:117] == b"a\x0012345", "the content begins at a multiple of four"
    assert len(archive) % 512 == 0


def test_a_later_entry_replaces_an_earlier_one() -> None:
    archive = cpio.pack([cpio.file("a", b"old"), cpio.file("a", b"new")], epoch_seconds=1)
    assert b"new" in archive
    assert b"old" not in archive


def test_what_is_added_comes_last_and_under_one_trailer() -> None:
    archive = cpio.extend(cpio.pack(ENTRIES, epoch_seconds=1), [cpio.file("usr/new", b"n")], epoch_seconds=1)
    assert cpio.names(archive)[-1] == "usr/new"
    assert len(cpio.names(archive)) == 9
    assert archive.count(b"TRAILER!!!") == 1
    assert len(archive) % 512 == 0
