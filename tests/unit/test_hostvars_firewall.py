"""The packet filter as data: pairs of hosts of the lab against a second reading of its flows, and odd facilities."""

import subprocess
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from itertools import product
from typing import Any

import pytest
from jinja2 import Environment

from pachon.definition import find, load
from pachon.hostvars import firewall
from pachon.model.facility import Facility, Flow, Host, HostNic, Segment
from pachon.places import CHECKOUT

TEMPLATE = CHECKOUT / "playbooks" / "roles" / "firewall" / "templates" / "host" / "rules.nft.j2"
PORTS = ("tcp/22", "tcp/53", "udp/53", "udp/123", "tcp/443", "tcp/873", "tcp/1094", "tcp/5432", "udp/1094")
LAB = load(find("lab"))

Packet = tuple[str, str, str]
"""Source, target, and protocol with port."""


@cache
def told(name: str) -> dict[str, Any]:
    host = next(host for host in LAB.hosts if host.name == name)
    return firewall.arguments(LAB, LAB.site(host.site), host)


def arguments(facility: Facility, host: Host) -> dict[str, Any]:
    return firewall.arguments(facility, facility.site(host.site), host)


def inside(address: str, networks: list[str]) -> bool:
    return any(IPv4Address(address) in IPv4Network(network) for network in networks)


def lets_through(rules: list[dict[str, Any]], network: str, packet: Packet) -> bool:
    """Whether one of the rules takes the packet, read as the template writes them."""
    source, target, port = packet
    protocol, _, number = port.partition("/")
    return any(
        rule["network"] == network
        and (not rule["sources"] or inside(source, rule["sources"]))
        and not inside(source, rule["not_sources"])
        and (not rule["targets"] or inside(target, rule["targets"]))
        and (not rule["ports"] or (rule["protocol"] == protocol and int(number) in rule["ports"]))
        for rule in rules
    )


def on_data() -> list[Host]:
    return [host for site in LAB.sites for host in site.active_hosts if "switch" not in host.groups]


def by_the_flows(source: Host, target: Host, port: str) -> bool:
    if source.enclave == target.enclave:
        return True
    return any(
        flow.target == target.enclave
        and flow.source in ("any", source.enclave)
        and port in flow.ports
        and (not flow.source_groups or any(group in flow.source_groups for group in source.groups))
        for flow in LAB.flows
    )


@pytest.mark.parametrize("source", on_data(), ids=lambda host: host.name)
def test_every_pair_of_hosts_is_let_in_and_forwarded_as_the_flows_say_and_in_no_other_way(source: Host) -> None:
    gateways = [host for host in on_data() if "gateway" in host.groups]
    for target, port in product(on_data(), PORTS):
        if target.name == source.name:
            continue
        packet = (str(source.address), str(target.address), port)
        wanted = by_the_flows(source, target, port)
        assert lets_through(told(target.name)["firewall_input"], "data", packet) is wanted, (target.name, port)
        apart = (source.enclave, source.site) != (target.enclave, target.site)
        for gateway in gateways if apart else ():
            found = lets_through(told(gateway.name)["firewall_forward"], "data", packet)
            assert found is wanted, (gateway.name, target.name, port)


def test_automation_is_never_locked_out_and_nobody_else_comes_in_on_the_management_segment() -> None:
    for site in LAB.sites:
        machines = site.machine_by_serial
        admins = [host for host in site.active_hosts if "admin" in host.groups]
        controllers = [str(site.management_gateway), str(site.boot_address)]
        for host in site.active_hosts:
            rules = told(host.name)["firewall_input"]
            assert told(host.name)["firewall_management_nic"] == machines[host.machine].boot_nic.name
            own = str(machines[host.machine].management_address)
            for source in controllers:
                assert lets_through(rules, "management", (source, own, "tcp/22"))
            for other in site.active_hosts:
                address = str(machines[other.machine].management_address)
                if other.name != host.name:
                    assert lets_through(rules, "management", (address, own, "tcp/22")) is (other in admins)
                for port in PORTS:
                    on_data_only = (str(other.address), own, port)
                    assert not lets_through(rules, "management", on_data_only)


def test_a_switch_which_has_no_other_address_is_served_on_the_management_segment() -> None:
    for site in LAB.sites:
        (switch,) = (host for host in site.active_hosts if "switch" in host.groups)
        (admin,) = (host for host in site.active_hosts if "dns" in host.groups)
        address = str(site.machine_by_serial[switch.machine].management_address)
        rules = told(admin.name)["firewall_input"]
        for port, wanted in (("udp/53", True), ("tcp/19532", True), ("udp/123", True), ("tcp/22", False)):
            assert lets_through(rules, "management", (address, "", port)) is wanted
        assert not [rule for rule in told(switch.name)["firewall_input"] if rule["network"] == "data"]


def test_a_gateway_forwards_nothing_that_comes_in_where_its_source_cannot_be() -> None:
    for gateway in (host for host in on_data() if "gateway" in host.groups):
        site = LAB.site(gateway.site)
        origins = {each["nic"]: each["sources"] for each in told(gateway.name)["firewall_origins"]}
        for segment in (segment for each in LAB.sites for segment in each.segments):
            nics = [nic for nic, sources in origins.items() if inside(str(segment.subnet[9]), sources)]
            assert len(nics) == 1, (gateway.name, segment.subnet)
            on_link = any(cable.nic == nics[0] and cable.switch == "base-archive" for cable in site.cables)
            assert on_link is (segment.site != site.name)
        assert told(gateway.name)["firewall_management_nic"] not in origins


def test_only_gateways_forward() -> None:
    assert [name for name in (host.name for host in LAB.hosts) if told(name)["firewall_forward"]] == [
        host.name for host in LAB.hosts if "gateway" in host.groups
    ]


def test_a_bastion_that_is_a_gateway_is_at_home_in_its_own_enclave_only() -> None:
    (gateway,) = (host for host in LAB.hosts if {"bastion", "gateway"} <= {*host.groups})
    for segment in LAB.site(gateway.site).segments:
        foot = str(segment.gateway)
        (host, *_) = (each for each in on_data() if (each.site, each.enclave) == (gateway.site, segment.enclave))
        rules = told(host.name)["firewall_input"]
        assert lets_through(rules, "data", (foot, str(host.address), "tcp/22")), segment.enclave
        other = lets_through(rules, "data", (foot, str(host.address), "tcp/5432"))
        assert other is (segment.enclave == gateway.enclave)
        for each in (each for each in on_data() if each.enclave != gateway.enclave and each.site != gateway.site):
            assert not lets_through(told(each.name)["firewall_input"], "data", (foot, str(each.address), "tcp/22"))


def with_flows(*flows: Flow) -> Facility:
    return LAB.model_copy(update={"flows": flows})


def flow(source: str, target: str, *ports: str, groups: tuple[str, ...] = ()) -> Flow:
    return Flow(source=source, target=target, ports=ports, reason="A test", source_groups=groups)


def test_flows_that_nobody_can_use_make_no_rule() -> None:
    facility = with_flows(
        flow("us-dac", "prompt-base", "tcp/80", groups=("nobody",)),
        flow("nowhere", "prompt-base", "tcp/81"),
        flow("prompt-base", "nowhere", "tcp/82"),
    )
    for host in facility.hosts:
        found = arguments(facility, host)
        rules = [*found["firewall_input"], *found["firewall_forward"]]
        assert not [rule for rule in rules if {80, 81, 82} & {*rule["ports"]}]


def test_hosts_that_are_planned_may_not_use_what_is_for_their_group() -> None:
    planned = next(host for host in LAB.hosts if host.state == "planned" and "database" in host.groups)
    active = next(host for host in on_data() if "database" in host.groups and host.enclave == planned.enclave)
    facility = with_flows(flow(planned.enclave, "us-dac", "tcp/80", groups=("database",)))
    target = next(host for host in on_data() if host.enclave == "us-dac")
    rules = arguments(facility, target)["firewall_input"]
    assert lets_through(rules, "data", (str(active.address), "", "tcp/80"))
    assert not lets_through(rules, "data", (str(planned.address), "", "tcp/80"))


def test_an_enclave_at_three_sites_is_one() -> None:
    third = LAB.sites[0].model_copy(
        update={
            "name": "summit",
            "hosts": (),
            "segments": (
                Segment(enclave="us-dac", site="summit", subnet=IPv4Network("198.18.220.0/24"), vni=1),
                Segment(enclave="offline-production", site="summit", subnet=IPv4Network("198.18.221.0/24"), vni=2),
            ),
        }
    )
    facility = LAB.model_copy(update={"sites": (*LAB.sites, third)})
    for host in on_data():
        found = arguments(facility, host)
        mine = "198.18.221.7" if host.enclave == "offline-production" else "198.18.220.7"
        wanted = host.enclave in ("offline-production", "us-dac")
        assert lets_through(found["firewall_input"], "data", (mine, "", "tcp/5432")) is wanted
        if "gateway" in host.groups:
            (link,) = (each for each in found["firewall_origins"] if "198.18.221.0/24" in each["sources"])
            assert "198.18.200.0/29" in link["sources"]
            packet = ("198.18.221.7", "198.18.30.12", "tcp/6817")
            assert lets_through(found["firewall_forward"], "data", packet)


def written(facility: Facility, host: Host) -> str:
    """The ruleset as the role writes it."""
    _, _, text = TEMPLATE.read_text().partition("\n")
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.from_string(text).render(ansible_managed="Of a test", **arguments(facility, host))


def test_the_ruleset_of_a_storage_host_reads_so() -> None:
    host = next(host for host in LAB.hosts if host.name == "archive-stor01")
    lines = [line.strip() for line in written(LAB, host).splitlines() if line and "#" not in line]
    start = lines.index('iifname "lo" accept')
    assert lines[:4] == [
        "table inet pachon",
        "delete table inet pachon",
        "table inet pachon {",
        "chain input {",
    ]
    assert lines[start + 1 : lines.index("chain forward {")] == [
        "meta l4proto { icmp, ipv6-icmp } accept",
        'iifname "eth0" ip saddr { 198.18.100.1, 198.18.100.2, 198.18.100.12 } tcp dport { 22 } accept',
        'iifname != "eth0" ip saddr { 198.18.140.0/24 } ip saddr != { 198.18.140.1 } accept',
        'iifname != "eth0" ip saddr { 198.18.10.12, 198.18.10.14, 198.18.110.13, 198.18.110.12, 198.18.140.1 } '
        "tcp dport { 22 } accept",
        'iifname != "eth0" ip saddr { 198.18.10.12, 198.18.110.12 } tcp dport { 1094, 1095, 5432 } accept',
        'iifname != "eth0" ip saddr { 198.18.40.0/24 } tcp dport { 5432 } accept',
        'iifname != "eth0" ip saddr { 198.18.20.11 } tcp dport { 5432 } accept',
        'iifname != "eth0" ip saddr { 198.18.30.0/24, 198.18.130.0/24 } tcp dport { 873, 1094 } accept',
        'iifname != "eth0" ip saddr { 198.18.40.0/24 } tcp dport { 1094, 1095, 8443 } accept',
        'iifname != "eth0" ip saddr { 198.18.150.0/24 } tcp dport { 1095 } accept',
        "meta pkttype { broadcast, multicast } drop",
        "goto refused",
        "}",
    ]
    assert lines[lines.index("chain forward {") + 1 :][:3] == [
        "type filter hook forward priority filter; policy drop;",
        "goto refused",
        "}",
    ]


def test_chains_are_called_by_no_word_of_nft_s() -> None:
    for host in (host for host in LAB.hosts if "gateway" in host.groups):
        chains = [line.split()[1] for line in written(LAB, host).splitlines() if line.strip().startswith("chain ")]
        assert chains == ["input", "forward", "refused"]


@pytest.mark.real
def test_nft_takes_every_ruleset_of_the_lab_and_of_flows_that_overlap() -> None:
    overlapping = with_flows(flow("any", "archive-us", "tcp/1094"), flow("provisioning", "us-dac", "tcp/1", "udp/2"))
    rulesets = [written(facility, host) for facility in (LAB, overlapping) for host in on_data()]
    rulesets.append((TEMPLATE.parents[2] / "files" / "nftables.conf").read_text())
    done = subprocess.run(
        ["unshare", "--net", "nft", "-c", "-f", "-"],
        input="\n".join(rulesets),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_gateway_without_a_segment_of_its_own_still_forwards_for_others() -> None:
    gateway = next(host for host in LAB.hosts if host.name == "base-gw01")
    lone = gateway.model_copy(update={"nics": (HostNic(name="eth2", enclave="prompt-base"),)})
    site = LAB.site("base")
    changed = site.model_copy(update={"hosts": tuple(lone if host == gateway else host for host in site.hosts)})
    facility = LAB.model_copy(update={"sites": (changed, LAB.site("archive"))})
    origins = arguments(facility, lone)["firewall_origins"]
    assert [each["nic"] for each in origins if "198.18.20.0/24" in each["sources"]] == ["eth2"]
