# ruff: noqa: D103  a test says in its name what would be broken
"""What a host that carries storage pools must show."""

from testinfra.host import Host


def test_there_is_a_place_for_pools(host: Host) -> None:
    assert host.file("/srv/pools").is_directory


def test_both_file_systems_can_be_made(host: Host) -> None:
    assert host.run("/usr/bin/btrfs --version").rc == 0
    assert host.run("/usr/sbin/mkfs.xfs -V").rc == 0
