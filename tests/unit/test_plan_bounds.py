"""A plan of roles stays inside another by what is played and by what is taken away, each for itself."""

from pachon.plan.bounds import outside, removals_in
from pachon.plan.document import Action, Difference, Plan, Verb
from pachon.plan.making import Basis, Findings, definition_of, plan_of
from tests.worlds import facility

ROLE = "base/host/base-h001/role/firewall"
OLD, STRANGER = "file:/etc/old.nft", "file:/etc/nftables.d/mallory"


def action(verb: Verb, *taken: str, given: str = "same") -> Action:
    differences = tuple(Difference(key=key, before="there", after="absent") for key in taken)
    return Action(
        site="base",
        layer="hosts",
        stack="hosts",
        address=ROLE,
        verb=verb,
        given=given,
        reason="r",
        differences=differences,
    )


def plan(*actions: Action) -> Plan:
    whole = facility()
    return plan_of(whole, [Findings(site="base", actions=actions)], Basis(definition=definition_of(whole), code={}))


def test_a_removal_is_inside_a_plan_that_holds_that_removal() -> None:
    parent = plan(action("update"), action("delete", OLD, "file:/etc/older.nft"))
    assert outside(plan(action("delete", OLD)), parent) == []
    assert outside(plan(action("update"), action("delete")), parent) == []
    assert outside(plan(action("delete", "file:/etc/another")), parent) == [f"{ROLE} (delete)"]
    assert outside(plan(action("delete", OLD)), plan(action("update"))) == [f"{ROLE} (delete)"]
    assert outside(plan(action("update")), plan(action("delete", OLD))) == [f"{ROLE} (update)"]
    assert removals_in(parent) == {ROLE: {OLD, "file:/etc/older.nft"}}


def test_a_stranger_is_put_aside_by_a_plan_that_names_it() -> None:
    parent = plan(action("update", STRANGER))
    assert outside(plan(action("update")), parent) == []
    assert outside(plan(action("update", STRANGER)), parent) == []
    assert outside(parent, plan(action("update"))) == [f"{ROLE} (update)"]
