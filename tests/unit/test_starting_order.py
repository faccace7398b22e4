"""No service starts before what it needs has passed, none stops while it is needed, and circles are found."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from random import Random
from xml.etree import ElementTree

import pytest

from pachon.checks.cycles import circle, circles
from pachon.definition import catalogue, find, load
from pachon.errors import UsageError
from pachon.model.facility import Facility, Placement
from pachon.model.service import Need, Service
from pachon.starting import order, picture, startable, stoppable, waves

GRAPHS = 10_000
SEED = 20261128
Needs = Mapping[str, set[str]]


def graph(random: Random, *, round_: bool) -> Needs:
    """A graph of up to 12 services; without circles unless they are let in."""
    names = [f"s{number}" for number in random.sample(range(100), random.randint(1, 12))]
    share = random.choice((0.05, 0.2, 0.5, 0.9))
    return {
        name: {other for other in (names if round_ else names[:place]) if random.random() < share}
        for place, name in enumerate(names)
    }


def test_in_ten_thousand_random_graphs_no_start_comes_before_what_it_needs_nor_a_stop_before_who_needs_it() -> None:
    random = Random(SEED)
    for _ in range(GRAPHS):
        needs = graph(random, round_=False)
        placed = {name: number for number, wave in enumerate(waves(needs)) for name in wave}
        assert placed.keys() == needs.keys()
        assert all(placed[need] < placed[name] for name, wanted in needs.items() for need in wanted)
        assert all(max((placed[need] for need in needs[name]), default=-1) == placed[name] - 1 for name in needs)
        assert circle(needs) == ()
        started_in_random_order(random, needs)
        stopped_in_random_order(random, needs)


def started_in_random_order(random: Random, needs: Needs) -> None:
    """Start all that may start, let contracts pass and fail in any order: who was begun had all that it needs."""
    passed: set[str] = set()
    begun: set[str] = set()
    failed: set[str] = set()
    while may := startable(needs, passed=passed, begun=begun):
        name = random.choice(may)
        assert needs[name] <= passed
        begun.add(name)
        (failed if random.random() < 0.1 else passed).add(name)
    assert passed | failed == begun
    held = set(needs) - begun
    assert all(needs[name] & (failed | held) for name in held)
    assert held == set() or failed


def stopped_in_random_order(random: Random, needs: Needs) -> None:
    stopped: set[str] = set()
    while may := stoppable(needs, stopped=stopped):
        name = random.choice(may)
        assert not any(name in wanted for other, wanted in needs.items() if other not in stopped)
        stopped.add(name)
    assert stopped == set(needs)


def test_a_circle_is_found_exactly_where_there_is_one_and_is_one() -> None:
    random = Random(SEED)
    for _ in range(1_000):
        needs = graph(random, round_=True)
        found = circle(needs)
        try:
            TopologicalSorter(needs).prepare()
        except CycleError:
            assert found
            with pytest.raises(UsageError, match="circle"):
                waves(needs)
        else:
            assert not found
            assert waves(needs)
        assert all(after in needs[name] for name, after in zip(found, (*found[1:], *found[:1]), strict=True))
        left = {name: set(wanted) for name, wanted in needs.items()}
        for each in circles(needs):
            left[each[-1]].discard(each[0])
        assert circle(left) == ()


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return catalogue.load()


@pytest.fixture(scope="module")
def facilities() -> dict[str, Facility]:
    return {name: load(find(name)) for name in ("lab", "rubin")}


@pytest.mark.parametrize("name", ["lab", "rubin"])
@pytest.mark.parametrize("stopping", [False, True])
def test_what_is_placed_stands_in_the_order_once_and_after_what_it_waits_for(
    name: str, stopping: bool, services: dict[str, Service], facilities: dict[str, Facility]
) -> None:
    facility = facilities[name]
    found = order(facility, services, stopping=stopping)
    starts = {start.address: start for wave in found.waves for start in wave}
    assert len(starts) == len(facility.placements)
    assert all(starts[wait.address].wave < start.wave for start in starts.values() for wait in start.waits)
    last = {start.service for start in found.waves[-1 if stopping else 0]}
    assert last == {"network-security"}
    drawn = ElementTree.fromstring(picture(found))
    boxes = len(drawn.findall("{http://www.w3.org/2000/svg}rect"))
    arrows = len(drawn.findall("{http://www.w3.org/2000/svg}path"))
    assert (boxes, arrows) == (len(starts), sum(len(start.waits) for start in starts.values()))


def need(service: str) -> Need:
    return Need(service=service, contract="", endpoint="", later=False)


def placed(facility: Facility, *places: tuple[str, str, str]) -> Facility:
    placements = [Placement(service=service, site=site, enclave=enclave, group="") for service, site, enclave in places]
    return facility.model_copy(update={"placements": tuple(placements)})


def test_a_service_waits_for_its_own_site_and_for_others_only_where_its_own_has_none(
    services: dict[str, Service], facilities: dict[str, Facility]
) -> None:
    facility = placed(
        facilities["rubin"],
        ("managed-databases", "base", "prompt-base"),
        ("managed-databases", "base", "archive-base"),
        ("managed-databases", "archive", "archive-us"),
        ("backbone-lifetime", "base", "archive-base"),
        ("backbone-lifetime", "archive", "archive-us"),
        ("qserv", "base", "chilean-dac"),
        ("bulk-distribution", "archive", "archive-us"),
    )
    needing = {
        name: services[name].model_copy(update={"needs": (need(needed),)})
        for name, needed in (("backbone-lifetime", "managed-databases"), ("bulk-distribution", "qserv"))
    }
    bare = {name: service.model_copy(update={"needs": ()}) for name, service in services.items()}
    found = order(facility, {**bare, **needing})
    waits = {start.address: start.waits for wave in found.waves for start in wave}
    assert [wait.address for wait in waits["base/service/backbone-lifetime/archive-base"]] == [
        "base/service/managed-databases/archive-base"
    ]
    (far,) = waits["archive/service/bulk-distribution/archive-us"]
    assert (far.address, far.other_site) == ("base/service/qserv/chilean-dac", True)
