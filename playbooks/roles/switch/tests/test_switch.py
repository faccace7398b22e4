# ruff: noqa: D103  a test says in its name what would be broken
"""What a switch must show."""

from testinfra.host import Host


def test_it_forwards(host: Host) -> None:
    assert host.file("/proc/sys/net/ipv4/ip_forward").content_string.strip() == "1"


def test_no_port_has_an_address_of_its_own(host: Host) -> None:
    lines = host.run("/usr/sbin/ip -brief address").stdout.splitlines()
    ports = [line.split() for line in lines if line.startswith("swp")]
    assert ports, "a switch has ports"
    assert [words for words in ports if len(words) > 2] == []


def test_no_port_answers_for_the_address_of_the_management_nic(host: Host) -> None:
    assert host.file("/proc/sys/net/ipv4/conf/all/arp_ignore").content_string.strip() == "1"
