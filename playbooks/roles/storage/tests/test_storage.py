# ruff: noqa: D103  a test says in its name what would be broken
"""What a host that carries storage pools must show."""

import json
from typing import Any

from testinfra.host import Host


def volumes(host: Host) -> list[dict[str, Any]]:
    return list(json.loads(host.check_output("/usr/libexec/pachon/volumes")))


def test_there_is_a_place_for_pools(host: Host) -> None:
    assert host.file("/srv/pools").is_directory


def test_both_file_systems_can_be_made(host: Host) -> None:
    assert host.run("/usr/bin/btrfs --version").rc == 0
    assert host.run("/usr/sbin/mkfs.xfs -V").rc == 0


def test_every_volume_is_mounted_and_limited_as_defined(host: Host) -> None:
    for volume in volumes(host):
        assert volume["mounted"], volume
        if volume["file_system"] == "btrfs":
            assert volume["limit_bytes"] == volume["size_gib"] << 30, volume
        assert volume["used_bytes"] <= volume["limit_bytes"], volume


def test_every_btrfs_pool_is_read_through_by_a_timer(host: Host) -> None:
    pools = {volume["pool"] for volume in volumes(host) if volume["file_system"] == "btrfs"}
    timers = host.check_output("systemctl list-timers --all --no-legend 'pachon-scrub@*'").splitlines()
    assert len(timers) >= len(pools)


def test_campaigns_are_staged_where_their_volume_is_and_by_nobody_without_the_secret(host: Host) -> None:
    if not any(volume["mount"] == "/srv/campaign" for volume in volumes(host)):
        assert not host.service("pachon-staging").is_running
        return
    assert host.service("pachon-staging").is_running
    assert host.file("/srv/campaign").user == "campaign"
    secrets = host.file("/etc/pachon/rsyncd.secrets")
    assert (secrets.user, secrets.mode) == ("campaign", 0o400)
    assert host.run("rsync --contimeout=10 rsync://127.0.0.1/campaign/").rc != 0
