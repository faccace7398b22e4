"""Ways between sites: the fewest links, the same there and back, and only over what is there."""

from ipaddress import IPv4Network
from typing import Any

import pytest

from pachon.definition import find, load
from pachon.hostvars import gateway
from pachon.model.facility import Cable, Facility, Host, Link, Nic, Site

LAB = load(find("lab"))


def told(facility: Facility, name: str) -> dict[str, Any]:
    host = next(host for host in facility.hosts if host.name == name)
    return gateway.arguments(facility, facility.site(host.site), host)


def of_sites(*ends: tuple[str, str, int]) -> Facility:
    """A facility whose sites have a gateway each, plugged into links: two sites and a delay each."""
    base = LAB.site("base")
    links = tuple(
        Link(
            name=f"l{number}",
            sites=(one, other),
            rate_mbps=1,
            delay_ms=delay,
            subnet=IPv4Network(f"198.18.2{number:02}.0/29"),
        )
        for number, (one, other, delay) in enumerate(ends)
    )
    names = dict.fromkeys(site for one, other, _ in ends for site in (one, other))
    sites = tuple(_site(base, name, [link.name for link in links if name in link.sites]) for name in names)
    return LAB.model_copy(update={"sites": sites, "links": links})


def _site(like: Site, name: str, links: list[str]) -> Site:
    own = next(host for host in like.hosts if "gateway" in host.groups)
    machine = like.machine_by_serial[own.machine]
    nics = tuple(Nic(name=f"wan{number}", mac=f"02:00:00:00:00:{number:02x}", speed_gbps=1) for number in range(9))
    cables = tuple(
        Cable(machine=machine.serial, nic=f"wan{number}", switch=link, port=name) for number, link in enumerate(links)
    )
    host = own.model_copy(update={"name": f"{name}-gw01", "site": name, "nics": ()})
    values = {field: getattr(like, field) for field in Site.model_fields}
    return Site.model_validate(
        values
        | {
            "name": name,
            "machines": (machine.model_copy(update={"site": name, "nics": (*machine.nics[:2], *nics)}),),
            "cables": cables,
            "hosts": (host,),
            "segments": tuple(each.model_copy(update={"site": name}) for each in like.segments[:1]),
            "storage_pools": (),
            "volumes": (),
            "pools": (),
        }
    )


def test_the_lab_s_gateways_reach_each_other_s_segments_over_the_link() -> None:
    for name, other, via in (("base-gw01", "archive", "198.18.200.2"), ("archive-gw01", "base", "198.18.200.1")):
        found = told(LAB, name)
        host = next(host for host in LAB.hosts if host.name == name)
        assert found["gateway_source"] == str(host.address)
        assert found["gateway_links"] == [
            {
                "nic": "eth5",
                "routes": [{"to": str(segment.subnet), "via": via} for segment in LAB.site(other).segments],
            }
        ]


def test_a_way_over_fewer_links_is_taken_before_one_with_less_delay() -> None:
    facility = of_sites(("a", "b", 90), ("a", "c", 1), ("c", "b", 1))
    assert {site: link.name for site, link in gateway.first_links(facility, "a").items()} == {"b": "l0", "c": "l1"}


def test_of_ways_over_as_many_links_that_with_less_delay_is_taken() -> None:
    facility = of_sites(("a", "b", 9), ("b", "d", 9), ("a", "c", 9), ("c", "d", 8))
    assert gateway.first_links(facility, "a")["d"].name == "l2"
    assert gateway.first_links(facility, "d")["a"].name == "l3"


@pytest.mark.parametrize(
    "ends",
    [
        [("a", "b"), ("b", "d"), ("a", "c"), ("c", "d")],
        [("c", "d"), ("a", "c"), ("b", "d"), ("a", "b")],
        [("a", "b"), ("a", "b"), ("b", "c")],
        [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "a"), ("a", "f"), ("f", "c")],
    ],
)
def test_the_way_back_is_the_way_there_even_where_ways_are_as_good(ends: list[tuple[str, str]]) -> None:
    facility = of_sites(*((one, other, 5) for one, other in ends))
    names = [site.name for site in facility.sites]
    for one in names:
        for other in names:
            there, back = _way(facility, one, other), _way(facility, other, one)
            assert there == back[::-1], (one, other)


def _way(facility: Facility, start: str, end: str) -> list[str]:
    """Links from gateway to gateway, as each of them decides."""
    at, way = start, []
    while at != end:
        link = gateway.first_links(facility, at)[end]
        way.append(link.name)
        at = link.other_end(at)
        assert len(way) < 10, "it goes round in circles"
    return way


def test_over_several_links_the_next_hop_is_the_neighbour_s_end() -> None:
    facility = of_sites(("a", "b", 5), ("b", "c", 5))
    (link,) = told(facility, "a-gw01")["gateway_links"]
    assert link["nic"] == "wan0"
    assert {route["via"] for route in link["routes"]} == {"198.18.200.2"}
    assert len(link["routes"]) == 2
    first, second = told(facility, "b-gw01")["gateway_links"]
    assert ([route["via"] for route in first["routes"]], [route["via"] for route in second["routes"]]) == (
        ["198.18.200.1"],
        ["198.18.201.2"],
    )


def _without(facility: Facility, name: str, **update: object) -> Facility:
    def changed(host: Host) -> Host:
        return host.model_copy(update=update) if host.name == name else host

    sites = tuple(
        site.model_copy(update={"hosts": tuple(changed(host) for host in site.hosts)}) for site in facility.sites
    )
    return facility.model_copy(update={"sites": sites})


@pytest.mark.parametrize("update", [{"state": "planned"}, {"groups": ()}])
def test_no_way_leads_over_a_link_whose_other_gateway_is_not_to_exist(update: dict[str, object]) -> None:
    facility = _without(LAB, "archive-gw01", **update)
    assert told(facility, "base-gw01")["gateway_links"] == [{"nic": "eth5", "routes": []}]


def test_no_way_leads_over_a_link_without_addresses() -> None:
    facility = LAB.model_copy(update={"links": (LAB.links[0].model_copy(update={"subnet": None}),)})
    assert gateway.first_links(facility, "base") == {}
