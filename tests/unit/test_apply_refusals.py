"""What ``up`` and ``down`` refuse before anything happens."""

from pathlib import Path

import pytest

from pachon import apply, teardown
from pachon.definition import find, load
from pachon.drivers.pulumi import PlannedAction
from pachon.errors import MissingError, RefusedError, UsageError
from pachon.ground import Stands
from pachon.model.facility import Facility
from pachon.opening import trusting
from pachon.plan.approval import refuse_unknown
from pachon.progress import silent
from pachon.site_run import _moves


@pytest.fixture(scope="module")
def rubin() -> Facility:
    return load(find("rubin"))


def order(facility: Facility, state: Path) -> apply.Order:
    return apply.Order(
        facility=facility, state=state, cache=state.parent / "cache", command="pachon up", sites=facility.sites
    )


def test_racks_are_not_spoken_to_before_their_bmc_passwords_were_supplied(rubin: Facility, tmp_path: Path) -> None:
    state = tmp_path / "rubin"
    with pytest.raises(MissingError, match="password") as refused:
        apply.up(order(rubin, state), silent)
    assert "bmc-" in refused.value.cure
    assert not state.exists()


def test_a_plan_for_racks_looks_at_nothing_before_their_bmc_passwords_were_supplied(tmp_path: Path) -> None:
    state = tmp_path / "rubin"
    assert trusting(Stands("racks", "", reachable=True), state).startswith("no BMC password")
    (state / "secrets").mkdir(parents=True)
    (state / "secrets" / "bmc-base").touch()
    assert trusting(Stands("racks", "", reachable=True), state) == ""
    assert "the lab is down" in trusting(Stands("lab", "down", reachable=False), state)


def test_racks_are_not_taken_down_by_a_command_and_nothing_is_stopped_first(rubin: Facility, tmp_path: Path) -> None:
    state = tmp_path / "rubin"
    state.mkdir()
    (state / "kept").touch()
    with pytest.raises(RefusedError, match="is for labs"):
        teardown.down(rubin, state=state, command="pachon down", progress=silent)
    assert (state / "kept").exists()


def test_an_approval_for_what_is_not_there_is_refused_with_the_nearest_address() -> None:
    with pytest.raises(UsageError, match="nothing to destroy") as refused:
        refuse_unknown({"base/host/base-batch1"}, {"base/host/base-batch01", "base/host/base-adm01"})
    assert "base/host/base-batch01" in refused.value.cure
    refuse_unknown({"base/host/base-adm01"}, {"base/host/base-adm01"})


def test_what_moves_between_stacks_is_seen() -> None:
    gone = PlannedAction(address="b/host/a", kind="k", verb="delete", reason="")
    made = PlannedAction(address="b/host/a", kind="k", verb="create", reason="")
    assert _moves([gone], [made])
    assert not _moves([made], [gone])
    assert not _moves([gone], [gone])
