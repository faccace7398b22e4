"""Rollouts of real processes under 50 requests a second: a good release fails none of them, a bad one at most 1 %."""

import asyncio
from pathlib import Path

import pytest

from pachon.model.rollout import BlueGreen, Canary, HealthGate, Pace, QueryGate, Rolling, SmokeGate, Strategy
from pachon.model.rollout_record import RolloutRow
from pachon.progress import silent
from pachon.rollout.beginning import Order, Subject, carry_out
from pachon.rollout.plan import RolloutPlan
from pachon.store.database import open_store
from pachon.store.rollouts import plan_of
from tests.rollout_processes import ProcessWorld, standing
from tests.rollouts import NEW, OLD, ZONES, place, rules, service

GATES = (
    HealthGate(name="answers", probe="https"),
    SmokeGate(name="user", command=("/usr/bin/true",)),
    QueryGate(name="errors", query="errors", at_most=0.0, at_least=None, trips_after=1),
    QueryGate(name="memory", query="memory", at_most=50, at_least=None),
)
ORDER = Order(version=NEW.version, sites=(), by="test", why="under load", command="pachon rollout start")


def rolled_out(folder: Path, world: ProcessWorld, strategy: Strategy, *, room: int, first: int) -> RolloutRow:
    where = place(room=room)
    patience = 1 if world.behaviour == "crashes" else 120
    pace = Pace(first_share_percent=first, soak_seconds=0.3, check_seconds=0.1, start_seconds=patience)
    subject = Subject(
        facility="made",
        zones=ZONES,
        service=service(),
        rules=rules(strategy=strategy, pace=pace, gates=GATES),
        releases={OLD.version: OLD, NEW.version: NEW},
        places=(where,),
        signers=None,
    )
    store = open_store(folder / "store.db")

    async def carried_out() -> RolloutRow:
        async with standing(where, world):
            return await carry_out(subject, ORDER, world, store, silent)

    try:
        row = asyncio.run(carried_out())
        plan = RolloutPlan.model_validate(plan_of(store, row.id))
    finally:
        store.close()
    shares = [step.shares_percent[NEW.version] for step in plan.steps if step.verb == "weigh"]
    assert shares[0] == first <= 5
    return row


@pytest.mark.parametrize(
    ("strategy", "room"), [(Canary(shares_percent=(5, 50, 100)), 2), (Rolling(at_once=1), 0), (BlueGreen(), 2)]
)
def test_a_good_release_fails_no_request(strategy: Strategy, room: int, tmp_path: Path) -> None:
    world = ProcessWorld("works")
    row = rolled_out(tmp_path, world, strategy, room=room, first=5)
    assert row.outcome == "done", row.wanted_why
    assert world.load.failed == []
    assert world.load.by_version[OLD.version] and world.load.by_version[NEW.version]
    assert {(each.version, each.name) for each in world.door.instances} == {
        (NEW.version, "archive-1"),
        (NEW.version, "archive-2"),
    }


@pytest.mark.parametrize(
    ("behaviour", "first", "told"),
    [
        ("errs", 1, "errors: 1, to be at most 0"),
        ("crashes", 5, "1.1.0 does not come up at archive/service/search/us-dac"),
        ("fails-smoke", 5, "the smoke test of archive-1 of 1.1.0 fails: it answers 500"),
        ("leaks", 5, "memory: "),
    ],
)
def test_a_bad_release_is_rolled_back_by_itself_and_costs_at_most_one_percent(
    behaviour: str, first: int, told: str, tmp_path: Path
) -> None:
    world = ProcessWorld(behaviour, comes_up_after=100 if behaviour == "errs" else 0)
    row = rolled_out(tmp_path, world, Canary(shares_percent=(5, 50, 100)), room=2, first=first)
    assert (row.outcome, row.wanted_by) == ("rolled back", "pachon")
    assert told in row.wanted_why
    assert len(world.load.failed) * 100 <= world.load.sent
    assert bool(world.load.failed) == (behaviour == "errs")
    assert {(each.version, each.name) for each in world.door.instances} == {
        (OLD.version, "archive-1"),
        (OLD.version, "archive-2"),
    }
