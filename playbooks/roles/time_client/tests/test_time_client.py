# ruff: noqa: D103  a test says in its name what would be broken
"""What every host must show of its clock."""

import pytest
from testinfra.host import Host

SOURCES = "/etc/chrony/sources.d/pachon.sources"


def runs(host: Host) -> bool:
    return bool(host.file(SOURCES).size)


def test_chrony_runs_where_it_is_to_start(host: Host) -> None:
    assert host.service("chrony").is_enabled
    assert host.service("chrony").is_running == runs(host)


def test_it_knows_the_servers_of_its_list(host: Host) -> None:
    if not runs(host):
        pytest.skip("nobody to ask here")
    listed = [line.split()[1] for line in host.file(SOURCES).content_string.splitlines() if line.startswith("server ")]
    known = host.check_output("sudo -n chronyc -n -c sources -a").splitlines()
    assert len(known) == len(listed)


def test_the_clock_is_set_only_where_it_is_the_hosts_own(host: Host) -> None:
    options = host.file("/etc/default/chrony").content_string
    if runs(host) and '"-x ' in options:
        argv = host.check_output("tr '\\0' ' ' </proc/$(pgrep -o chronyd)/cmdline")
        assert " -x " in argv
