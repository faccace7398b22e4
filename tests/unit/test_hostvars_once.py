"""Answers that all hosts share: worked out once, never another facility's, and gone with the facility."""

import gc
import weakref

from pachon import definition, hostvars
from pachon.hostvars.once import once
from pachon.model.facility import Facility, Flow

LAB = definition.load(definition.find("lab"))


def test_an_answer_is_worked_out_once_for_each_facility_and_each_name() -> None:
    asked: list[tuple[str, str]] = []

    @once
    def greeting(facility: Facility, name: str) -> str:
        asked.append((facility.title, name))
        return f"{facility.title} {name}"

    other = LAB.model_copy(update={"title": "Other"})
    said = [greeting(facility, name) for facility in (LAB, other) for name in ("a", "b", "a")]
    assert said == [f"{facility.title} {name}" for facility in (LAB, other) for name in ("a", "b", "a")]
    assert asked == [(LAB.title, "a"), (LAB.title, "b"), ("Other", "a"), ("Other", "b")]


def test_nothing_is_kept_of_a_facility_that_nobody_has_any_more() -> None:
    answered: list[weakref.ref[Facility]] = []

    @once
    def title(facility: Facility) -> str:
        return facility.title

    for number in range(100):  # addresses are given out again
        facility = LAB.model_copy(update={"title": f"number {number}"})
        assert title(facility) == f"number {number}"
        answered.append(weakref.ref(facility))
        del facility
        gc.collect(0)
    gc.collect()
    assert [ref for ref in answered if ref() is not None] == []


def test_what_hosts_are_told_follows_a_flow_that_was_added() -> None:
    host = next(host for host in LAB.hosts if "slurm_compute" in host.groups)
    before = hostvars.of_role(LAB, host, "firewall")
    flow = Flow(source="us-dac", target=host.enclave, ports=("tcp/4321",), reason="A trial.")
    after = hostvars.of_role(LAB.model_copy(update={"flows": (*LAB.flows, flow)}), host, "firewall")
    assert "4321" not in str(before)
    assert "4321" in str(after)
    assert hostvars.of_role(LAB, host, "firewall") == before
