# ruff: noqa: D103  a test says in its name what would be broken
"""What a gateway must show."""

from testinfra.host import Host

UNIT = "pachon-forwarding"


def test_it_forwards_now_and_after_the_next_boot(host: Host) -> None:
    assert host.file("/proc/sys/net/ipv4/ip_forward").content_string.strip() == "1"
    assert (host.service(UNIT).is_enabled, host.service(UNIT).is_running) == (True, True)


def test_forwarding_ends_with_the_packet_filter(host: Host) -> None:
    shown = host.check_output(f"systemctl show --property=Requires,After {UNIT}.service").split("\n")
    assert all("nftables.service" in line for line in shown)
    assert len(shown) == 2


def test_it_forwards_between_named_interfaces_only(host: Host) -> None:
    rules = host.check_output("/usr/sbin/nft list chain inet pachon forward")
    assert "goto refused" in next(line for line in rules.split("\n") if "iifname != {" in line)


def test_its_ways_to_other_sites_are_in_the_kernel(host: Host) -> None:
    wanted = host.check_output("sed -n s/^Destination=//p /etc/systemd/network/*.network.d/50-gateway.conf").split()
    known = host.check_output("/usr/sbin/ip -4 route show").split("\n")
    assert [network for network in wanted if not any(line.startswith(f"{network} via ") for line in known)] == []
