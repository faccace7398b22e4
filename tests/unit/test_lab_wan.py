"""The lab's links between sites, as far as they are plain computing: rate, delay, queue, and what is wired."""

from ipaddress import IPv4Network

import pytest

from infra.lab import forwarder, names, wiring
from infra.lab.forwarder import HEADER, Direction
from pachon.errors import UsageError
from pachon.model.facility import Cable, Facility, Link
from tests.lab import labs

WHOLE = HEADER.pack(0, 0, 0, 0, 0, 0)


def frame(size_bytes: int) -> bytes:
    return WHOLE + bytes(size_bytes)


def two_sites(*, plugged: tuple[str, ...] = ("base", "archive")) -> Facility:
    made = {}
    for block, site in ((200, "base"), (201, "archive")):
        cable = Cable(machine=f"T{block}N1", nic="eth1", switch="far", port=site)
        alone = labs.facility(
            "t-wired",
            block,
            machines=(labs.machine(block, 1, site=site, nics=2),),
            cables=(cable,) if site in plugged else (),
        )
        made[site] = alone.sites[0].model_copy(update={"name": site})
    link = Link(name="far", sites=("base", "archive"), rate_mbps=200, delay_ms=75)
    update = {"prefix": IPv4Network("198.19.200.0/22"), "sites": tuple(made.values()), "links": (link,)}
    return alone.model_copy(update=update)


def test_a_frame_arrives_after_its_own_length_and_the_delay_and_no_sooner() -> None:
    way = Direction(rate_mbps=8, delay_seconds=0.075)
    assert way.put(frame(1000), 10.0)
    assert way.next_at() == pytest.approx(10.076)
    assert way.arrived(10.0759) is None
    assert way.arrived(10.0761) == frame(1000)
    assert way.next_at() is None


def test_frames_leave_in_order_one_after_the_other_at_the_link_s_rate() -> None:
    way = Direction(rate_mbps=8, delay_seconds=0.0)
    for number in range(3):
        way.put(WHOLE + bytes([number]) * 1000, 5.0)
    assert [got[-1] if (got := way.arrived(5.0 + ms / 1000)) else None for ms in (0.9, 1.1, 1.9, 2.1, 3.1)] == [
        None,
        0,
        None,
        1,
        2,
    ]


def test_what_would_wait_too_long_is_dropped_and_the_link_is_free_again_later() -> None:
    way = Direction(rate_mbps=8, delay_seconds=0.0)
    taken = [way.put(frame(1000), 1.0) for _ in range(60)]
    assert taken.count(True) == 51
    assert way.dropped == 9
    assert way.put(frame(1000), 1.01)


def test_a_large_frame_counts_as_the_segments_that_it_stands_for() -> None:
    large = HEADER.pack(1, 1, 54, 1446, 34, 16) + bytes(54 + 3 * 1446)
    assert forwarder.bytes_on_wire(large) == 3 * 1500
    assert forwarder.bytes_on_wire(frame(60)) == 60


def test_a_nic_cabled_to_a_link_is_plugged_into_its_own_site_s_end() -> None:
    facility = two_sites()
    for site in facility.sites:
        _, nic = wiring.ports(facility, site)[site.machines[0].serial]
        assert (nic.bridge, nic.other) == (names.wan_bridge("far", site.name), "")
        (end,) = (end for end in wiring.link_ends(facility) if end.site == site.name)
        lines = wiring.link_end_lines(facility, site, frozenset())
        assert f"link add {end.port} type veth peer name {end.inner} netns t-wired-wan" in lines
        assert any(f"master {nic.bridge}" in line for line in lines)


def test_ends_that_are_there_are_left_alone_and_those_of_no_link_go() -> None:
    facility = two_sites()
    site = facility.sites[0]
    here = next(end for end in wiring.link_ends(facility) if end.site == site.name)
    lines = wiring.link_end_lines(facility, site, frozenset({here.bridge, here.port, "w0123456789", "mgmt"}))
    assert [line for line in lines if " add " in line or " del " in line] == ["link del w0123456789"]
    assert wiring.link_end_lines(two_sites(plugged=()), site, frozenset()) == []


def test_a_link_that_nothing_is_plugged_into_is_not_made() -> None:
    assert wiring.link_ends(two_sites(plugged=())) == []
    assert [end.site for end in wiring.link_ends(two_sites(plugged=("archive",)))] == ["base", "archive"]


def test_hosts_see_their_controller_as_the_management_gateway() -> None:
    facility = two_sites()
    rules = wiring.nat_rules(facility, facility.sites[1])
    assert f"ip saddr {names.pair(facility.prefix, 0).near} " in rules
    assert f"snat to {facility.sites[1].management_gateway}" in rules


@pytest.mark.parametrize("name", ["hub", "wan"])
def test_a_site_called_as_a_part_of_the_lab_is_refused(name: str) -> None:
    facility = two_sites()
    renamed = facility.sites[0].model_copy(update={"name": name})
    with pytest.raises(UsageError, match=f"cannot be called '{name}'"):
        wiring.check(facility.model_copy(update={"sites": (renamed,)}))
