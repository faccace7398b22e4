"""Enclaves are apart and sites are far: every pair of enclaves is tried from both ends, and the link between sites.

What is allowed is read here from the definition's own file, not by the code that made the packet filters.
"""

import re
import time
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import yaml

from pachon.model.facility import Host
from tests.e2e.shipped import Copy
from tests.e2e.trying import Attempt, Hosts, Refusal

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]

NEVER_ALLOWED = ("tcp/5432", "udp/1094")
"""Ports that no flow of the shipped lab names."""
WITHOUT_DATA = ("switch",)
PATIENCE_SECONDS = 120.0


@dataclass
class Tried:
    """All that was tried in one go, and what logs say of it."""

    copy: Copy
    outcome: dict[Attempt, str]
    logged: set[Refusal]

    def host(self, name: str) -> Host:
        """A host by its name."""
        return next(host for host in self.copy.active if host.name == name)

    def silent(self) -> list[str]:
        """Refused attempts that no log tells of."""
        return [
            f"{attempt.source} to {attempt.name}"
            for attempt, outcome in self.outcome.items()
            if outcome == "refused"
            if not any(Refusal(own, attempt.address, attempt.port) in self.logged for own in self._addresses(attempt))
        ]

    def _addresses(self, attempt: Attempt) -> list[str]:
        """Those that the source of the attempt may have sent from."""
        source = self.host(attempt.source)
        site = self.copy.facility.site(source.site)
        feet = [str(segment.gateway) for segment in site.segments] if "gateway" in source.groups else []
        return [str(source.address), management_address(self.copy, source), *feet]


def on_data(copy: Copy) -> list[Host]:
    """Active hosts with an address on the segment of their enclave."""
    return [host for host in copy.active if not {*WITHOUT_DATA} & {*host.groups}]


def chosen(copy: Copy) -> list[Host]:
    """One host of every enclave at each of its sites, and all those of groups that flows tell apart.

    A host with a kernel of its own is taken before others.
    """
    special = {"gateway", *(group for flow in flows_of(copy) for group in flow.get("source_groups", ()))}
    firmware = {machine.serial for machine in copy.facility.machines if machine.model == "firmware"}
    found: dict[tuple[str, str], Host] = {}
    for host in sorted(on_data(copy), key=lambda host: (bool({*host.groups} & special), host.machine not in firmware)):
        found.setdefault((host.site, host.enclave), host)
    more = [host for host in on_data(copy) if {*host.groups} & special]
    return list({host.name: host for host in (*found.values(), *more)}.values())


def flows_of(copy: Copy) -> list[dict[str, Any]]:
    """The flows as they are written."""
    return list(yaml.safe_load((copy.rig.definition / "facility.yaml").read_text())["flows"])


def ports_of(copy: Copy) -> list[str]:
    """Every TCP port that a flow names, and some that none does."""
    named = {port for flow in flows_of(copy) for port in flow["ports"] if port.startswith("tcp/")}
    return [*sorted(named), *NEVER_ALLOWED]


def is_allowed(copy: Copy, source: Host, target: Host, port: str) -> bool:
    """Whether the definition lets the source open a connection there."""
    return source.enclave == target.enclave or any(
        flow["target"] == target.enclave
        and flow["source"] in ("any", source.enclave)
        and port in flow["ports"]
        and (not flow.get("source_groups") or {*flow["source_groups"]} & {*source.groups})
        for flow in flows_of(copy)
    )


def management_address(copy: Copy, host: Host) -> str:
    return str(copy.facility.site(host.site).machine_by_serial[host.machine].management_address)


@pytest.fixture(scope="module")
def hosts(copy: Copy) -> Hosts:
    return Hosts(copy.rig.state / "ssh_config")


@pytest.fixture(scope="module")
def tried(copy: Copy, hosts: Hosts) -> Tried:
    """Connections between the chosen hosts, on the data network and on the management segments, and to gateways."""
    some, ports = chosen(copy), ports_of(copy)
    attempts = [
        Attempt(source.name, str(target.address), port)
        for source, target, port in product(some, some, ports)
        if source.name != target.name
        if port.startswith("tcp/") or source.site == target.site  # few: a kernel tells of one refusal a second
    ]
    attempts += [
        Attempt(source.name, management_address(copy, target), port)
        for source, target, port in product(some, copy.active, ("tcp/22", "tcp/5432"))
        if source.name != target.name and source.site == target.site
    ]
    gateways = {segment.gateway: segment for site in copy.facility.sites for segment in site.segments}
    attempts += [
        Attempt(source.name, str(address), port)
        for source, (address, segment), port in product(some, gateways.items(), ("tcp/22", "tcp/5432"))
        if (source.site, source.enclave) == (segment.site, segment.enclave)
        if "gateway" not in source.groups
    ]
    with hosts.listening([host.name for host in on_data(copy)], ports):
        made = Tried(copy, hosts.knock(attempts), set())
    end = time.monotonic() + PATIENCE_SECONDS
    while made.silent() and time.monotonic() < end:
        made.logged |= hosts.refusals([host.name for host in copy.active])
    return made


def test_what_flows_allow_connects_and_all_else_is_refused_from_both_ends(tried: Tried) -> None:
    by_address = {str(host.address): host for host in on_data(tried.copy)}
    wrong, pairs = [], set()
    for attempt, outcome in tried.outcome.items():
        if attempt.address in by_address:
            source, target = tried.host(attempt.source), by_address[attempt.address]
            pairs.add((source.enclave, target.enclave))
            wanted = "open" if is_allowed(tried.copy, source, target, attempt.port) else "refused"
            if outcome != wanted:
                wrong.append(f"{source.name} to {target.name} {attempt.port}: {outcome} in place of {wanted}")
    assert wrong == []
    enclaves = {host.enclave for host in on_data(tried.copy)}
    assert {pair for pair in product(enclaves, enclaves) if pair[0] != pair[1]} <= pairs


def test_on_the_management_segment_only_admin_hosts_log_in(tried: Tried) -> None:
    by_address = {management_address(tried.copy, host): host for host in tried.copy.active}
    wrong = []
    for attempt, outcome in tried.outcome.items():
        if attempt.address in by_address:
            source = tried.host(attempt.source)
            wanted = "open" if attempt.port == "tcp/22" and "admin" in source.groups else "refused"
            if outcome != wanted:
                wrong.append(f"{source.name} to {by_address[attempt.address].name} {attempt.port}: {outcome}")
    assert wrong == []


def test_a_gateway_takes_from_the_segments_that_it_serves_nothing_but_what_its_enclave_does(tried: Tried) -> None:
    feet = {str(segment.gateway): segment.enclave for site in tried.copy.facility.sites for segment in site.segments}
    gateway_enclaves = {host.enclave for host in tried.copy.active if "gateway" in host.groups}
    assert len(gateway_enclaves) == 1
    found = {
        (feet[attempt.address] in gateway_enclaves, outcome)
        for attempt, outcome in tried.outcome.items()
        if attempt.address in feet
    }
    assert (False, "refused") in found
    assert (False, "open") not in found


def test_every_refusal_is_in_a_log(tried: Tried) -> None:
    assert tried.silent() == []
    assert list(tried.outcome.values()).count("refused") > 100


def test_the_link_between_sites_delays_is_cut_and_is_mended(copy: Copy, hosts: Hosts) -> None:
    (link,) = copy.facility.links
    near, far = (
        next(host for host in on_data(copy) if "admin" in host.groups and host.site == site) for site in link.sites
    )
    assert near.enclave == far.enclave
    said = hosts.run(near.name, ["ping", "-c", "5", "-i", "0.3", "-W", "10", str(far.address)])
    fastest = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", said)
    assert fastest is not None, said
    assert float(fastest[1]) >= 2 * link.delay_ms
    copy.pachon("lab", "link", "cut", link.name)
    try:
        assert _loss(hosts, near, far, count=3) == 100
        beside = next(
            host
            for host in on_data(copy)
            if (host.site, host.enclave) == (near.site, near.enclave) and host.name != near.name
        )
        assert _loss(hosts, near, beside, count=3) < 100
        status = copy.rig.ask("lab", "status", status=None)
        assert [each["cut"] for each in status["links"]] == [True]
        assert f"link {link.name} is cut" in status["problems"]
    finally:
        copy.pachon("lab", "link", "mend", link.name)
    end = time.monotonic() + PATIENCE_SECONDS
    while _loss(hosts, near, far, count=3) > 0:
        assert time.monotonic() < end, "the link does not come back"
    assert copy.rig.ask("lab", "status")["problems"] == []


def _loss(hosts: Hosts, source: Host, target: Host, *, count: int) -> int:
    """Percentage of pings that stay without an answer."""
    ping = f"ping -c {count} -i 0.5 -W 5 {target.address} || true"
    found = re.search(r"(\d+)% packet loss", hosts.run(source.name, ["sh", "-c", ping]))
    assert found is not None
    return int(found[1])
