"""Dealing machines to pools: the same facts deal the same way, and what exists stays where it is."""

from collections.abc import Mapping
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachon.allocation import Deal, Dealt, deal, name_of, number_of
from pachon.model.facility import Machine, Pool, Selection


def machine(serial: str, *, model: str = "m", rack: str = "r1") -> Machine:
    return Machine(
        serial=serial,
        site="s",
        rack=rack,
        unit=1,
        vendor="v",
        model=model,
        cpus=1,
        memory_mib=512,
        bmc_address=IPv4Address("198.19.12.1"),
        management_address=IPv4Address("198.19.12.2"),
        bmc_tls_sha256="",
        nics=(),
        disks=(),
    )


def pool(*, names: str = "w##", first: int = 1, **selection: object) -> Pool:
    return Pool(
        name="w",
        site="s",
        machines=Selection.model_validate(selection),
        host_names=names,
        first_number=first,
        first_address=IPv4Address("198.19.12.11"),
        count=0,
    )


MACHINES = [machine(f"M{number}") for number in range(1, 9)]


def placed(dealt: Deal) -> dict[str, str]:
    return {host.name: host.machine for host in dealt.hosts}


@pytest.mark.parametrize(
    ("existing", "wanted", "keep", "add", "remove"),
    [
        ({}, 0, {}, {}, ()),
        ({}, 2, {}, {"w01": "M1", "w02": "M2"}, ()),
        ({"w01": "M5"}, 2, {"w01": "M5"}, {"w02": "M1"}, ()),
        ({"w02": "M5"}, 2, {"w02": "M5"}, {"w01": "M1"}, ()),
        ({"w01": "M1", "w02": "M2", "w03": "M3"}, 1, {"w01": "M1"}, {}, ("w02", "w03")),
        ({"w01": "GONE"}, 1, {}, {"w01": "M1"}, ("w01",)),
        ({"other01": "M1"}, 1, {}, {"w01": "M1"}, ()),
        ({"w1": "M1", "w001": "M2", "w0x": "M3", "w": "M4"}, 1, {}, {"w01": "M1"}, ()),
    ],
)
def test_deal_keeps_adds_and_removes(
    existing: Mapping[str, str], wanted: int, keep: dict[str, str], add: dict[str, str], remove: tuple[str, ...]
) -> None:
    found = deal(pool(), existing, free=MACHINES, wanted=wanted)
    assert {host.name: host.machine for host in found.keep} == keep
    assert {host.name: host.machine for host in found.add} == add
    assert found.remove == remove
    assert found.lacking == 0


def test_deal_says_how_many_machines_are_lacking() -> None:
    assert deal(pool(), {}, free=MACHINES, wanted=10).lacking == 2


def test_deal_takes_only_machines_that_match() -> None:
    mixed = [
        machine("A", rack="r1"),
        machine("B", rack="r2"),
        machine("C", model="n", rack="r2"),
        machine("D", rack="r2"),
    ]
    assert placed(deal(pool(model="m", racks=["r2"]), {}, free=mixed, wanted=9)) == {"w01": "B", "w02": "D"}


def test_deal_passes_over_names_and_addresses_of_others() -> None:
    found = deal(pool(), {}, free=MACHINES, wanted=2, taken=["w02", IPv4Address("198.19.12.11")])
    assert list(found.hosts) == [
        Dealt("w03", "M1", IPv4Address("198.19.12.13")),
        Dealt("w04", "M2", IPv4Address("198.19.12.14")),
    ]


def test_deal_leaves_machines_that_other_pools_keep() -> None:
    assert placed(deal(pool(), {}, free=MACHINES, wanted=1, spoken_for=["M1", "M2"])) == {"w01": "M3"}


def test_numbers_past_the_digits_of_the_pattern_are_still_names_of_the_pool() -> None:
    assert name_of(pool(), 100) == "w100"
    assert number_of(pool(), "w100") == 100
    assert number_of(pool(first=5), "w04") is None


counts = st.integers(min_value=0, max_value=8)


@settings(deadline=None, max_examples=50)
@given(before=counts, after=counts, extra=st.integers(min_value=0, max_value=3), first=st.booleans())
def test_machines_added_anywhere_never_move_a_host_that_exists(
    before: int, after: int, extra: int, first: bool
) -> None:
    existing = placed(deal(pool(), {}, free=MACHINES, wanted=before))
    new = [machine(f"N{number}") for number in range(extra)]
    found = deal(pool(), existing, free=[*new, *MACHINES] if first else [*MACHINES, *new], wanted=after)
    kept = {name: serial for name, serial in placed(found).items() if name in existing}
    assert all(existing[name] == serial for name, serial in kept.items())
    assert len(kept) == min(before, after)
    assert len(found.hosts) == after


@settings(deadline=None, max_examples=50)
@given(
    existing=st.dictionaries(
        st.sampled_from([f"w{n:02d}" for n in range(12)]), st.sampled_from([f"M{n}" for n in range(12)])
    ),
    wanted=counts,
)
def test_no_machine_and_no_address_is_dealt_twice(existing: dict[str, str], wanted: int) -> None:
    one_host_each = {serial: name for name, serial in existing.items()}
    found = deal(pool(), {name: serial for serial, name in one_host_each.items()}, free=MACHINES, wanted=wanted)
    assert len({host.machine for host in found.hosts}) == len({host.address for host in found.hosts}) == wanted
    assert found.lacking == 0
