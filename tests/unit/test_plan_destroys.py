"""What a plan destroys: named, approved for one plan and a time, and refused where a last copy or data would go."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pachon.errors import RefusedError
from pachon.model.facility import Placement
from pachon.plan.approval import Approval, losing_data, refuse_invalid, refuse_unapproved
from pachon.plan.document import Plan
from tests.unit.test_plan_document import BATCH, inputs, plan, with_host
from tests.worlds import facility, without_hosts


def test_destruction_names_all_that_was_not_approved_but_records_of_machines() -> None:
    whole = facility(hosts=3)
    made = plan(without_hosts(whole, "base-h002", "base-h003"), inputs(whole))
    with pytest.raises(RefusedError) as refused:
        refuse_unapproved(made, [f"{BATCH}002"], command="pachon up")
    assert f"{BATCH}003 (delete)" in refused.value.message
    assert refused.value.cure.endswith(f"pachon up --destroy {BATCH}003")
    assert "machine" not in str(refused.value)
    refuse_unapproved(made, [f"{BATCH}00*"], command="pachon up")


def dropping(number: int, **further: Any) -> Plan:
    """A plan that takes that many of three database hosts away."""
    whole = facility(hosts=3)
    for host in whole.hosts:
        whole = with_host(whole, host.name, groups=("database",))
    placed = Placement(service="managed-databases", site="base", enclave="batch", group="database")
    whole = whole.model_copy(update={"placements": (placed,)})
    names = [host.name for host in whole.hosts][:number]
    return plan(without_hosts(whole, *names), inputs(whole), **further)


def test_a_quorum_and_a_last_copy_have_to_be_named_whatever_else_was_approved() -> None:
    refuse_unapproved(dropping(1), ["base/host/*"], command="pachon up")
    for number, lost in ((2, {"quorum"}), (3, {"quorum", "last copy"})):
        made = dropping(number)
        assert {each.loses for each in made.protections} == lost
        with pytest.raises(RefusedError, match="quorum"):
            refuse_unapproved(made, ["base/host/*", "base/*"], command="pachon up")
        refuse_unapproved(made, ["base/host/*", *(each.address for each in made.protections)], command="pachon up")


@pytest.mark.parametrize(("said", "named"), [("is empty", False), ("holds 3 entries, such as runs", True), ("", True)])
def test_a_volume_that_holds_data_or_cannot_be_asked_has_to_be_named(said: str, named: bool) -> None:
    whole = facility(volumes=1)
    site = whole.sites[0].model_copy(update={"volumes": (), "storage_pools": ()})
    holding = {"base/volume/scratch1": said} if said else {}
    made = plan(whole.model_copy(update={"sites": (site,)}), inputs(whole), holding=holding)
    assert bool(made.protections) is named
    assert losing_data(made, ["base/volume/scratch1"]) == ({"base/volume/scratch1"} if named else set())
    assert losing_data(made, ["base/volume/*"]) == set()
    if named:
        with pytest.raises(RefusedError, match="the volume holds"):
            refuse_unapproved(made, ["base/volume/*"], command="pachon up")
    else:
        refuse_unapproved(made, ["base/volume/*"], command="pachon up")
    refuse_unapproved(made, ["base/volume/scratch1"], command="pachon up")


def test_an_approval_is_for_one_plan_and_ends() -> None:
    made, now = plan(facility(), {}), datetime(2026, 11, 28, 12, tzinfo=UTC)
    given_one = Approval(plan=made.seal, facility="filed", until=now + timedelta(hours=1), by="ana")
    refuse_invalid(given_one, made, now)
    with pytest.raises(RefusedError, match="ended at"):
        refuse_invalid(given_one, made, now + timedelta(hours=2))
    with pytest.raises(RefusedError, match="approval is for plan"):
        refuse_invalid(given_one.model_copy(update={"plan": "0" * 64}), made, now)
