# ruff: noqa: D103  a test says in its name what would be broken
"""What an admin host must show."""

from typing import Any

from testinfra.host import Host


def test_there_is_room_for_the_sites_controller(host: Host) -> None:
    assert host.file("/opt/pachon").is_directory
    assert host.file("/srv/pachon").mode == 0o700


def test_the_programs_of_a_controller_are_there(host: Host) -> None:
    for program in ("dnsmasq", "mcopy", "mkfs.vfat", "rsync", "ssh", "ssh-keygen", "zstd"):
        assert host.run(f"PATH=/usr/sbin:/usr/bin:/bin command -v {program}").rc == 0, program


def test_the_controller_is_led_to_the_bmcs_over_the_management_segment(host: Host, arguments: dict[str, Any]) -> None:
    nic = arguments["admin_management_nic"]
    for network in arguments["admin_bmc_networks"]:
        found = host.run(f"ip -4 route show {network}").stdout
        assert f"via {arguments['admin_management_gateway']} dev {nic}" in found, found
