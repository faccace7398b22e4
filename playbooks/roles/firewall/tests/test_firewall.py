# ruff: noqa: D103  a test says in its name what would be broken
"""What every host must show of its packet filter."""

from typing import Any

import pytest
from testinfra.host import Host

NFT = "/usr/sbin/nft"


@pytest.mark.parametrize("unit", ["nftables", "ulogd2"])
def test_it_filters_and_logs_now_and_after_the_next_boot(host: Host, unit: str) -> None:
    assert (host.service(unit).is_enabled, host.service(unit).is_running) == (True, True)


@pytest.mark.parametrize("chain", ["input", "forward"])
def test_what_no_rule_allows_is_refused_and_logged(host: Host, chain: str) -> None:
    lines = host.check_output(f"{NFT} list chain inet pachon {chain}").split("\n")
    assert f"type filter hook {chain} priority filter; policy drop;" in [line.strip() for line in lines]
    assert "goto refused" in lines[-3]
    refused = host.check_output(f"{NFT} list chain inet pachon refused")
    assert 'log prefix "pachon refused " group 1' in refused
    assert "reject with tcp reset" in refused


def test_only_controllers_come_in_by_ssh_on_the_management_segment(host: Host) -> None:
    rules = host.check_output(f"{NFT} list chain inet pachon input")
    assert " tcp dport 22 accept" in rules
    assert "\ttcp dport 22 accept" not in rules, "the rules that an image starts with still hold"


def test_no_rules_of_strangers_are_loaded(host: Host, arguments: dict[str, Any]) -> None:
    tables = {"table inet pachon"}
    if any(origin.get("hidden") for origin in arguments["firewall_origins"]):
        tables |= {"table ip pachon-hidden", "table ip kube-proxy", "table ip6 kube-proxy"}
    assert set(host.check_output(f"{NFT} list tables").split("\n")) == tables


def test_frames_within_a_bridge_are_left_alone(host: Host) -> None:
    for family in ("arp", "ip", "ip6"):
        setting = host.file(f"/proc/sys/net/bridge/bridge-nf-call-{family}tables")
        assert not setting.exists or setting.content_string.strip() == "0"
