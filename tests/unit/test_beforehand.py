"""What is removed before an engine begins, in which order."""

from typing import Any

import pytest

from pachon.drivers.pulumi import PlannedAction
from pachon.drivers.pulumi.answers import Verb
from pachon.layers.beforehand import removals
from pachon.model.hardware import Kind, ResourceInputs
from pachon.model.stamp import Stamp
from pachon.store.journal import Entry


def entry(kind: Kind, name: str, **inputs: Any) -> Entry:
    where = {Kind.HOST: "host", Kind.VOLUME: "volume"}[kind]
    return Entry(1, f"base/{where}/{name}", kind.value, "create", "g", inputs, "run", "done")


def host(name: str, serial: str) -> ResourceInputs:
    return ResourceInputs(kind=Kind.HOST, address=f"base/host/{name}", inputs={"serial": serial, "generation": "n"})


def planned(address: str, verb: Verb) -> PlannedAction:
    kind = Kind.VOLUME if "/volume/" in address else Kind.HOST
    return PlannedAction(address=address, kind=kind.value, verb=verb, reason="")


def test_a_host_goes_first_from_a_machine_that_is_to_carry_another_and_only_then() -> None:
    made = [entry(Kind.HOST, "old", serial="A"), entry(Kind.HOST, "lone", serial="B")]
    actions = [
        planned("base/host/old", "delete"),
        planned("base/host/lone", "delete"),
        planned("base/host/new", "create"),
    ]
    (removal,) = removals(made, actions, [host("new", "A")])
    assert removal.action.address == "base/host/old"
    assert removal.orphan.stamp == Stamp(address="base/host/old", generation="g")


def test_hosts_that_change_places_both_go_first_each_once_the_machine_it_goes_to_is_there() -> None:
    made = [entry(Kind.HOST, "one", serial="A"), entry(Kind.HOST, "two", serial="B")]
    machines = [
        ResourceInputs(kind=Kind.MACHINE, address=f"base/machine/{serial}", inputs={"generation": "m"})
        for serial in ("A", "B")
    ]
    actions = [planned("base/host/one", "replace"), planned("base/host/two", "replace")]
    found = removals(made, actions, [*machines, host("one", "B"), host("two", "A")])
    assert [(each.action.address, each.machine and each.machine.address) for each in found] == [
        ("base/host/one", "base/machine/B"),
        ("base/host/two", "base/machine/A"),
    ]


def test_a_volume_goes_before_its_host_and_one_of_a_host_that_stays_is_the_engine_s() -> None:
    made = [
        entry(Kind.HOST, "old", serial="A"),
        entry(Kind.VOLUME, "data", host="old"),
        entry(Kind.VOLUME, "other", host="stays"),
    ]
    actions = [planned(each.address, "delete") for each in made]
    assert [each.action.address for each in removals(made, actions, [])] == ["base/volume/data"]
    first, second = removals(made, actions, [host("new", "A")])
    assert (first.action.address, second.action.address) == ("base/volume/data", "base/host/old")
    assert (first.under, second.under) == ("base/host/old", "")


@pytest.mark.parametrize(
    ("wanted", "left_behind"), [(None, True), ("A", False), ("B", True)], ids=["dropped", "made anew", "moves"]
)
def test_a_volume_is_left_behind_where_its_host_goes_or_moves(wanted: str | None, left_behind: bool) -> None:
    made = [entry(Kind.HOST, "old", serial="A"), entry(Kind.VOLUME, "data", host="old")]
    verb: Verb = "replace" if wanted else "delete"
    actions = [planned("base/host/old", verb), planned("base/volume/data", "delete")]
    (removal,) = removals(made, actions, [host("old", wanted)] if wanted else [])
    assert (removal.action.address, removal.left_behind) == ("base/volume/data", left_behind)
