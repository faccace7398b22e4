"""Traces of the shipped lab: all pairs of hosts against a second reading of its flows, and ways that are cut."""

from itertools import product

import pytest

from pachon.cli.network import target_of
from pachon.definition import find, load
from pachon.errors import UsageError
from pachon.model.facility import Cable, Facility, Host, HostState, Site
from pachon.tracing import Trace, trace
from pachon.trial import agreement


@pytest.fixture(scope="module")
def lab() -> Facility:
    return load(find("lab"))


def host(facility: Facility, group: str, site: str = "base") -> Host:
    """The first active host of a group."""
    return next(each for each in facility.hosts if group in each.groups and each.site == site)


def changed(facility: Facility, name: str, **update: object) -> Facility:
    """The facility with one site changed."""

    def anew(site: Site) -> Site:
        """Without what the site has worked out from its cables and machines."""
        return Site.model_validate({**{field: getattr(site, field) for field in Site.model_fields}, **update})

    sites = tuple(anew(site) if site.name == name else site for site in facility.sites)
    return facility.model_copy(update={"sites": sites})


def without_cables(facility: Facility, name: str, *ends: tuple[str, str]) -> Facility:
    """The facility without the cables that have one of these ends."""

    def stays(cable: Cable) -> bool:
        return not {(cable.machine, cable.nic), (cable.switch, cable.port)} & {*ends}

    return changed(facility, name, cables=tuple(cable for cable in facility.site(name).cables if stays(cable)))


def with_host(facility: Facility, name: str, **update: object) -> Facility:
    """The facility with one host changed."""
    site = facility.site(next(each.site for each in facility.hosts if each.name == name))
    hosts = tuple(each.model_copy(update=update) if each.name == name else each for each in site.hosts)
    return changed(facility, site.name, hosts=hosts)


def kinds(found: Trace) -> list[str]:
    return [hop.kind for hop in found.hops]


def test_every_pair_of_hosts_is_as_the_flows_have_it_and_its_way_is_whole(lab: Facility) -> None:
    on_data = [
        each for each in lab.hosts if each.state is HostState.ACTIVE and not {*each.groups} & {"switch", "gateway"}
    ]
    assert len(on_data) > 12
    ports = ("tcp/4", "tcp/22", "tcp/873", "tcp/1094", "udp/53")
    for source, target in product(on_data, on_data):
        allowed = {
            port
            for flow in lab.flows
            for port in flow.ports
            if flow.target == target.enclave
            and flow.source in (source.enclave, "any")
            and (not flow.source_groups or any(group in source.groups for group in flow.source_groups))
        }
        for port in ports:
            found = trace(lab, source, target, port)
            expected = source.enclave == target.enclave or port in allowed
            assert found.verdict == ("allowed" if expected else "refused"), (source.name, target.name, port)
            assert bool(found.stops) is not expected
        far, crosses = source.site != target.site, (source.site, source.enclave) != (target.site, target.enclave)
        assert kinds(found).count("link") == far
        assert kinds(found).count("gateway") == (2 if far else 1 if crosses else 0)
        assert kinds(found).count("switch") == (0 if source == target else 2 if crosses else 1)
        assert kinds(found).count("cable") == 2 * kinds(found).count("switch")


def test_way_names_cables_ports_bridges_gateways_and_the_next_hop(lab: Facility) -> None:
    found = trace(lab, host(lab, "slurm_compute"), host(lab, "storage", "archive"), "tcp/873")
    told = [f"{hop.kind} {hop.name} {hop.about}".strip() for hop in found.hops]
    link = next(link for link in lab.links if set(link.sites) == {"base", "archive"})
    assert any(
        line.startswith("link base-archive") and f"next hop {link.address_at('archive')}" in line for line in told
    )
    (here, there) = [hop for hop in found.hops if hop.kind == "switch"]
    segment = lab.site("base").segment("offline-production")
    assert segment is not None
    assert f"bridge br{segment.vni}" in here.about
    assert here.about.startswith("swp")
    assert there.site == "archive"
    assert "tcp/873" in found.allowed_by
    assert Trace.model_validate_json(found.model_dump_json()) == found


def test_a_port_for_some_groups_only_says_where_to_start(lab: Facility) -> None:
    refused = trace(lab, host(lab, "gateway"), host(lab, "storage"), "tcp/22")
    (stop,) = refused.stops
    assert refused.verdict == "refused"
    assert "bastion" in stop.why
    assert host(lab, "bastion").name in stop.cure


def test_no_flow_says_which_would_and_no_port_lists_what_is_open(lab: Facility) -> None:
    storage, worker = host(lab, "storage"), host(lab, "slurm_compute")
    (stop,) = trace(lab, storage, worker, "tcp/80").stops
    assert "source archive-base, target offline-production, ports [tcp/80]" in stop.cure
    assert "tcp/1094" in trace(lab, worker, storage).open_ports
    assert trace(lab, storage, worker).verdict == "refused"


def test_a_cable_that_is_not_there_is_what_stops_it(lab: Facility) -> None:
    worker, storage = host(lab, "slurm_compute"), host(lab, "storage")
    cut = without_cables(lab, "base", (worker.machine, "eth1"))
    found = trace(cut, worker, storage, "tcp/1094")
    assert (found.verdict, [stop.where for stop in found.stops]) == ("broken", [f"{worker.name} eth1"])
    assert "cables.csv" in found.stops[0].cure


def test_a_gateway_out_of_the_link_or_without_a_foot_is_what_stops_it(lab: Facility) -> None:
    worker, gateway = host(lab, "slurm_compute"), host(lab, "gateway")
    unplugged = without_cables(lab, "base", ("base-archive", "base"))
    found = trace(unplugged, worker, host(lab, "storage", "archive"), "tcp/873")
    assert found.verdict == "broken"
    assert any(stop.where == "link base-archive" and gateway.name in stop.why for stop in found.stops)

    lame = with_host(lab, gateway.name, nics=tuple(nic for nic in gateway.nics if nic.enclave != "archive-base"))
    found = trace(lame, worker, host(lab, "storage"), "tcp/873")
    assert any("archive-base" in stop.why or "archive-base" in stop.where for stop in found.stops)

    islands = lab.model_copy(update={"links": ()})
    found = trace(islands, worker, host(lab, "storage", "archive"), "tcp/873")
    assert any("no link leads there" in stop.why for stop in found.stops)


def test_planned_switches_gateways_and_hosts_are_what_stops_it(lab: Facility) -> None:
    worker, storage = host(lab, "slurm_compute"), host(lab, "storage")
    for group in ("switch", "gateway"):
        name = host(lab, group).name
        found = trace(with_host(lab, name, state=HostState.PLANNED), worker, storage, "tcp/873")
        assert (found.verdict, [stop.where for stop in found.stops]) == ("broken", [name])
    planned = with_host(lab, storage.name, state=HostState.PLANNED)
    target = next(each for each in planned.hosts if each.name == storage.name)
    (stop,) = trace(planned, worker, target, "tcp/873").stops
    assert (stop.where, stop.cure) == (storage.name, f"set the state of {storage.name} to active")


def test_management_segment_is_for_admin_hosts_of_the_same_site(lab: Facility) -> None:
    storage = host(lab, "storage")
    open_way = trace(lab, host(lab, "admin"), storage, "tcp/22", network="management")
    assert (open_way.verdict, open_way.target_address) == (
        "allowed",
        str(lab.site("base").machine_by_serial[storage.machine].management_address),
    )
    assert trace(lab, host(lab, "bastion"), storage, "tcp/22", network="management").verdict == "refused"
    assert trace(lab, host(lab, "admin", "archive"), storage, "tcp/22", network="management").verdict == "refused"


def test_switches_are_spoken_to_over_the_management_segment(lab: Facility) -> None:
    switch, admin = host(lab, "switch"), host(lab, "admin")
    asks = trace(lab, switch, admin, "udp/53")
    assert (asks.network, asks.verdict) == ("management", "allowed")
    assert trace(lab, switch, admin, "tcp/22").verdict == "refused"
    assert trace(lab, admin, switch, "tcp/22").verdict == "allowed"
    assert trace(lab, host(lab, "bastion"), switch, "tcp/22").verdict == "refused"
    far = trace(lab, switch, host(lab, "admin", "archive"), "udp/53")
    assert (far.network, far.verdict) == ("data", "broken")


def test_target_is_a_host_with_or_without_a_port() -> None:
    assert target_of("base-db01") == ("base-db01", "")
    assert target_of("base-db01:22") == ("base-db01", "tcp/22")
    assert target_of("base-db01:udp/53") == ("base-db01", "udp/53")
    for wrong in ("a:", "a:ssh", "a:0", "a:70000", "a:icmp/1"):
        with pytest.raises(UsageError, match="is no port"):
            target_of(wrong)


def test_a_refusal_tells_something_only_where_somebody_listens(lab: Facility) -> None:
    allowed = trace(lab, host(lab, "bastion"), host(lab, "storage"), "tcp/22")
    refused = trace(lab, host(lab, "storage"), host(lab, "database"), "tcp/22")
    assert agreement(allowed, "connected", listening=True) is True
    assert agreement(allowed, "refused", listening=True) is False
    assert agreement(allowed, "refused", listening=False) is None
    assert agreement(allowed, "unreachable", listening=False) is False
    assert agreement(refused, "connected", listening=True) is False
    assert agreement(refused, "refused", listening=True) is True
    assert agreement(refused, "refused", listening=None) is None
    assert agreement(refused, "unreachable", listening=True) is True
