"""When places of a rollout may begin: windows and the Observatory's word, both at one moment, and by whose key."""

from dataclasses import replace
from pathlib import Path

import pytest

from pachon.errors import RefusedError
from pachon.model.rollout import Window
from pachon.progress import Event, silent
from pachon.store import releases
from pachon.store.database import open_store
from pachon.store.lease import Lease, acquire, hold, release
from pachon.store.rollouts import ask, steps_of
from tests.rollout_stage import PLACES, WORD, KilledError, Stage, keys, say, stage, told_while
from tests.rollout_world import FiledWorld, ends
from tests.rollouts import NEW, NOW, OLD

EARLY = Window(days=("sat",), opens="09:00", closes="09:10", clock="utc")
LATE = Window(days=("sat",), opens="11:00", closes="11:30", clock="utc")


def at_utc(it: Stage, hour: int, minute: int = 0) -> None:
    """Have the world's clock show that, on the day of the tests."""
    it.world.write({**it.world.read(), "now": NOW.replace(hour=hour, minute=minute).isoformat()})


def test_a_window_that_is_shut_is_waited_for_with_the_clocks_of_both_sites(folder: Path) -> None:
    saturday = Window(days=("sat",), opens="03:01", closes="16:00", clock="site")
    it = stage(open_store(folder / "store.db"), folder, windows=(saturday,), places=(PLACES[0],))
    said = told_while(it)
    assert said[0] == (
        "a window for archive/service/search/us-dac: the next one opens "
        "Sat 2026-11-28 09:01 UTC, Sat 03:01 at archive, Sat 06:01 at base"
    )
    opened = steps_of(it.store, it.row.id)[0]
    assert opened.verb == "open" and "open until Sat 2026-11-28 22:00 UTC" in opened.evidence["window"]


def test_a_window_that_has_shut_while_the_observatorys_word_was_waited_for_is_waited_for_again(folder: Path) -> None:
    own, _, signers = keys(folder)
    one = PLACES[:1]
    it = stage(open_store(folder / "store.db"), folder, places=one, change=WORD, signers=signers, windows=(EARLY, LATE))
    waited: list[str] = []

    def beside(world: FiledWorld) -> None:
        waits = it.row.waits
        if waits and waits not in waited:
            waited.append(waits)
            if len(waited) == 1:
                at_utc(it, 10)
                say(it, "yes", own)
            else:
                assert not any(each.startswith("start") for each in world.asked)
                at_utc(it, 11, 1)

    it.world.each_second = beside
    assert it.start().outcome == "done"
    assert waited[0].startswith("the Observatory's yes, as LDM-230 asks")
    assert waited[1].startswith(
        "a window for archive/service/search/us-dac: the next one opens Sat 2026-11-28 11:00 UTC"
    )
    opened = steps_of(it.store, it.row.id)[0]
    assert opened.evidence["word"].startswith("yes, signed by observatory@summit")
    assert "it was Sat 2026-11-28 11:01 UTC" in opened.evidence["window"]


@pytest.mark.parametrize("how", ["killed", "paused", "somebody else has the site"])
def test_a_place_that_was_found_open_is_looked_at_again_before_its_first_effect(how: str, folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, places=PLACES[:1], windows=(EARLY, LATE))
    said: list[str] = []
    others = list[Lease]()

    def listen(event: Event) -> None:
        said.append(event.message)
        if event.message == "open: wait until it may begin" and event.state == "done":
            match how:
                case "killed":
                    raise KilledError
                case "paused":
                    ask(it.store, it.row.id, "paused", by="sol", why="lunch", at=it.world.now())
                case _:
                    others.append(acquire(it.store, "archive", facility="made", command="pachon up"))

    def beside(world: FiledWorld) -> None:
        if world.now() < NOW.replace(hour=10):
            at_utc(it, 10)
            if it.row.wanted == "paused":
                ask(it.store, it.row.id, "forward", by="sol", why="was good", at=world.now())
            if others:
                release(it.store, others.pop(), "done")
        elif "a window for" in it.row.waits:
            assert world.asked == ["look archive"]
            with hold(it.store, "archive", facility="made", command="nobody has the site"):
                at_utc(it, 11)

    it.world.each_second = beside
    if how == "killed":
        with pytest.raises(KilledError):
            it.start(progress=listen)
        at_utc(it, 10)
    assert it.start(progress=listen if how != "killed" else silent).outcome == "done"
    taken = steps_of(it.store, it.row.id)
    assert "it was Sat 2026-11-28 09:00 UTC" in taken[0].evidence["window"]
    assert taken[1].verb == "start" and "it was Sat 2026-11-28 11:00 UTC" in taken[1].evidence["window"]


def test_a_signed_no_is_not_lost_while_nobody_can_tell_whose_it_is(folder: Path) -> None:
    own, _, signers = keys(folder)
    it = stage(open_store(folder / "store.db"), folder, change=WORD, signers=signers)
    waited: list[str] = []

    def fall_over(world: FiledWorld) -> None:
        if not it.row.words:
            say(it, "yes", own)
        if world.read()["places"][PLACES[0].address]["shares"][NEW.version]:
            raise RuntimeError("the controller is gone")

    it.world.each_second = fall_over
    with pytest.raises(RuntimeError):
        it.start()
    say(it, "no", own)
    kept = signers.rename(folder / "elsewhere")
    before = len(it.world.read()["effects"])

    def find_again(world: FiledWorld) -> None:
        waited.append(it.row.waits)
        assert len(world.read()["effects"]) == before
        if len(waited) == 3:
            kept.rename(signers)
            world.each_second = None

    it.world.each_second = find_again
    row = it.start()
    assert (row.outcome, row.wanted_by) == ("rolled back", "observatory@summit")
    assert waited[-1].startswith("the file observatory_signers beside facility.yaml")


def test_nothing_begins_before_the_observatorys_signed_yes_and_its_no_turns_it_back(folder: Path) -> None:
    own, stranger, signers = keys(folder)
    it = stage(open_store(folder / "store.db"), folder, change=WORD, signers=signers)
    said: list[str] = []

    def talk(world: FiledWorld) -> None:
        begun = any(each.startswith("start") for each in world.asked)
        if len(said) == 0:
            say(it, "yes", stranger)
            said.append("stranger")
        elif len(said) == 1:
            assert not begun
            say(it, "yes", own)
            said.append("yes")
        elif world.read()["places"][PLACES[0].address]["shares"][NEW.version] == 50 and len(said) == 2:
            say(it, "no", own)
            said.append("no")

    it.world.each_second = talk
    row = it.start()
    assert (row.outcome, row.wanted_by) == ("rolled back", "observatory@summit")
    assert row.wanted_why == "the Observatory says no: the sky is clouded"
    assert steps_of(it.store, row.id)[0].evidence["word"] == "yes, signed by observatory@summit: the sky is clouded"
    assert ends(it.world, PLACES) == {OLD.version}
    releases.lift(it.store, "search", NEW.version, by="x", why="x", at=NOW)
    with pytest.raises(RefusedError, match="nobody may give it"):
        replace(it, subject=replace(it.subject, signers=None)).start()
