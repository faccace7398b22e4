"""A preview whose provider was not heard of is asked for once more, and no more than that."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pachon.drivers.pulumi.answers import PlannedAction
from pachon.drivers.pulumi.child import Answer
from pachon.drivers.pulumi.engine import Engine
from pachon.errors import PermanentError
from pachon.progress import Event
from tests.worlds import World, facility, make_world

DONE = Answer(actions=(PlannedAction(address="base/host/a", kind="k", verb="none", reason=""),))
GONE = Answer(plug_in_ended=True, said=("the provider's process ended",))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, facility(hosts=1), Path("unused"))


@pytest.mark.parametrize(("answers", "well"), [([GONE, DONE], True), ([GONE, GONE, DONE], False), ([DONE], True)])
def test_it_is_asked_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch, answers: list[Answer], well: bool
) -> None:
    told: list[Event] = []
    left = list(answers)

    async def run(self: Engine, *given: Any, **named: Any) -> Answer:
        return left.pop(0)

    monkeypatch.setattr(Engine, "_run", run)
    engine = Engine(pulumi=world.pulumi, state=world.state, progress=told.append)
    if well:
        assert asyncio.run(engine.preview(world.stack())) == list(DONE.actions)
    else:
        with pytest.raises(PermanentError, match="process ended"):
            asyncio.run(engine.preview(world.stack()))
    assert ["once more" in event.message for event in told] == [True] * (answers[0] is GONE)
