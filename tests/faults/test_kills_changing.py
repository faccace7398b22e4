"""Kills a run that changes, replaces and destroys at every boundary it crosses; others at some.

Those are ``apply FILE``, and runs after which the definition is another one.
"""

import os
from collections.abc import Callable

import pytest

from tests.faults.killing import killed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

EVERY_POINT = os.environ.get("PACHON_FAULTS") == "all"
PART = "1/1" if EVERY_POINT else "1/16"
PART_OF_OTHERS = "1/1" if EVERY_POINT else "1/12"


def test_killed_at_any_boundary_of_a_change_the_next_run_finishes_and_leaves_nothing_lost_doubled_or_orphaned(
    record_property: Callable[[str, object], None],
) -> None:
    outcomes = killed("change")
    record_property("kill points in process", len(outcomes))
    assert {point: wrong for point, wrong in outcomes.items() if wrong} == {}
    assert len(outcomes) >= 250


def test_killed_while_a_sealed_plan_is_applied_the_same_command_takes_it_up(
    record_property: Callable[[str, object], None],
) -> None:
    outcomes = killed("apply", "--part", PART)
    record_property("kill points in process", len(outcomes))
    assert {point: wrong for point, wrong in outcomes.items() if wrong} == {}
    assert outcomes


def test_killed_and_then_undone_or_dropped_from_the_definition_the_next_run_ends_in_what_is_defined_then(
    record_property: Callable[[str, object], None],
) -> None:
    outcomes = killed("undo", "drop", "--part", PART_OF_OTHERS)
    record_property("kill points in process", len(outcomes))
    assert {point: wrong for point, wrong in outcomes.items() if wrong} == {}
    assert {point.partition("/")[0] for point in outcomes} == {"undo", "drop"}
