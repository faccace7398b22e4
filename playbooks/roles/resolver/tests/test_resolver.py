# ruff: noqa: D103  a test says in its name what would be broken
"""What every host must show of names."""

import pytest
from testinfra.host import Host


def servers(host: Host) -> list[str]:
    lines = host.file("/etc/resolv.conf").content_string.splitlines()
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]


def test_it_asks_no_more_name_servers_than_the_c_library_takes(host: Host) -> None:
    assert len(servers(host)) <= 3


def test_names_are_found_both_ways(host: Host) -> None:
    if not servers(host):
        pytest.skip("there is no name server in this facility")
    search = next(
        line.split()[1] for line in host.file("/etc/resolv.conf").content_string.splitlines() if "search" in line
    )
    own = host.check_output("hostname").partition(".")[0]
    address = host.check_output(f"getent -s hosts:dns ahostsv4 {own}.{search}").split()[0]
    assert f"{own}.{search}" in host.check_output(f"getent -s hosts:dns hosts {address}")
