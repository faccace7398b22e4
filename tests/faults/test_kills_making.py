"""Kills a run that makes a facility at every boundary it crosses; and shows that the harness finds faults."""

from collections.abc import Callable

import pytest

from tests.faults.killing import killed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


def test_killed_at_any_boundary_of_a_making_the_next_run_finishes_and_leaves_nothing_lost_or_doubled(
    record_property: Callable[[str, object], None],
) -> None:
    outcomes = killed("make")
    record_property("kill points in process", len(outcomes))
    assert {point: wrong for point, wrong in outcomes.items() if wrong} == {}
    assert len(outcomes) >= 250


def test_deliberate_faults_such_as_a_receipt_before_its_effect_are_found_by_the_oracle() -> None:
    outcomes = killed("--itself")
    assert len(outcomes) == 6
    assert [name for name, wrong in outcomes.items() if not wrong] == []
