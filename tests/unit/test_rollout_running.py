"""Rollouts carried out over a world in a file: to the end, back by themselves, paused, waiting."""

import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from pachon.errors import LeaseHeldError, PachonError, PermanentError, RefusedError
from pachon.model.rollout import BlueGreen, Pace, Place, Rolling
from pachon.store import releases
from pachon.store.database import open_store
from pachon.store.lease import Lease, acquire, hold, release
from pachon.store.rollouts import RolloutRecord, ask, lease_name, steps_of
from pachon.store.tables import leases
from tests.rollout_stage import PLACES, KilledError, stage, told_while
from tests.rollout_world import FiledWorld, ends
from tests.rollouts import NEW, NOW, OLD, place, rules


def test_a_good_release_comes_everywhere_and_its_record_says_who_why_and_on_what_evidence(
    where: str, tmp_path: Path
) -> None:
    it = stage(open_store(where), tmp_path)
    row = it.start()
    assert (row.outcome, row.by, row.why, row.from_version) == ("done", "itahue", "faster searches", OLD.version)
    assert ends(it.world, PLACES) == {NEW.version}
    known = releases.on_record(it.store, "search")
    assert known.proven == {(NEW.digest, site, "us-dac") for site in ("archive", "base")}
    assert {(each.site, each.version) for each in known.in_force} == {("archive", "1.1.0"), ("base", "1.1.0")}
    assert known.releases == {OLD.version: OLD, NEW.version: NEW}
    taken = steps_of(it.store, row.id)
    assert all((step.outcome, step.attempts) == ("done", 1) for step in taken)
    watch = next(step for step in taken if step.verb == "watch").evidence["watch"]
    assert watch["watched_seconds"] >= 5 and watch["worst"] == {"errors": 0.0}
    assert {each["gate"] for each in watch["gates"]} == {"answers", "errors"}
    with pytest.raises(RefusedError, match="has ended: done"):
        ask(it.store, row.id, "back", by="x", why="x", at=NOW)
    it.store.close()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("start", "ends as soon as it is started"),
        ("refused", "has no place at the front door"),
        ("health", "1.1.0 does not come up at archive/service/search/us-dac: answers: archive-1"),
        ("smoke", "user: the smoke test of archive-1 of 1.1.0 fails: a user finds nothing"),
        ("query", "errors: 0.5, to be at most 0.01 (in 2 looks one after another)"),
    ],
)
def test_a_bad_release_goes_back_by_itself_and_is_held(bad: str, told: str, folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)
    it.world.bad = bad
    row = it.start()
    assert (row.outcome, row.wanted, row.wanted_by) == ("rolled back", "back", "pachon")
    assert told in row.wanted_why
    assert ends(it.world, PLACES) == {OLD.version}
    assert not any(each.startswith(("start base", "weigh base")) for each in it.world.asked)
    shares = [step.evidence["did"] for step in steps_of(it.store, row.id) if step.verb == "weigh"]
    assert all(share.startswith(("95 % to 1.0.0", "100 % to 1.0.0")) for share in shares)
    (held,) = releases.on_record(it.store, "search").holds
    assert (held.version, held.why, held.rollout) == (NEW.version, row.wanted_why, row.id)
    with pytest.raises(RefusedError, match=r"1\.1\.0 is held since"):
        it.start()


def killed_after(method: Callable[..., None]) -> Callable[..., None]:
    """The method, with a kill after it if it put down that something has failed."""

    def call(self: RolloutRecord, *given: Any, **named: Any) -> None:
        method(self, *given, **named)
        if "failed" in (*given, *named):
            raise KilledError

    return call


def test_a_gate_that_has_tripped_is_not_forgotten_by_a_kill(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = stage(open_store(folder / "store.db"), folder)
    it.world.bad = "smoke"
    with monkeypatch.context() as patched:
        for name in ("end", "turn_back"):
            patched.setattr(RolloutRecord, name, killed_after(getattr(RolloutRecord, name)))
        with pytest.raises(KilledError):
            it.start()
    it.world.bad = ""  # what was wrong does not show again
    row = it.start()
    assert (row.outcome, ends(it.world, PLACES)) == ("rolled back", {OLD.version})
    assert [held.version for held in releases.on_record(it.store, "search").holds] == [NEW.version]


def test_a_version_that_was_held_comes_when_the_hold_is_lifted(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, places=PLACES[:1], strategy=BlueGreen())
    it.world.bad = "start"
    assert it.start().outcome == "rolled back"
    it.world.bad = ""
    releases.lift(it.store, "search", NEW.version, by="itahue", why="was the sensor's fault", at=NOW)
    assert it.start().outcome == "done"


def test_what_goes_bad_at_the_second_site_goes_back_at_both(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)

    def worse(world: FiledWorld) -> None:
        shares = world.read()["places"][PLACES[1].address]["shares"]
        world.bad = "query" if shares[NEW.version] == 50 else ""

    it.world.each_second = worse
    assert it.start().outcome == "rolled back"
    assert ends(it.world, PLACES) == {OLD.version}
    known = releases.on_record(it.store, "search")
    assert known.proven == frozenset()  # what is held was proven at the first site, and is so no longer
    force = known.in_force
    assert {(each.site, each.version) for each in force} == {("archive", OLD.version), ("base", OLD.version)}


@pytest.mark.parametrize("what", ["query", "weigh", "start", "stop", "health", "smoke"])
def test_what_cannot_be_asked_is_waited_for_by_name_and_then_it_goes_on(what: str, folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, places=PLACES[:1], strategy=BlueGreen())
    it.world.away = {what: 7}
    said = told_while(it)
    assert any(f"{what} cannot be asked just now" in each for each in said)
    assert ends(it.world, PLACES[:1]) == {NEW.version}


def test_time_does_not_count_while_prometheus_is_away_and_too_long_is_too_long(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, pace=Pace(soak_seconds=5, check_seconds=5, mixed_minutes=1))
    it.world.away = {"query": 10**6}
    row = it.start()
    assert row.outcome == "rolled back"
    assert "two versions stood side by side for longer than 0:01:00; it waited for errors" in row.wanted_why
    assert releases.on_record(it.store, "search").holds == ()
    assert ends(it.world, PLACES) == {OLD.version}


def test_what_stood_mixed_for_too_long_while_nobody_carried_it_out_goes_back_at_once(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)

    def fall_over(world: FiledWorld) -> None:
        if world.read()["places"][PLACES[0].address]["shares"][NEW.version]:
            raise RuntimeError("the controller is gone")

    it.world.each_second = fall_over
    with pytest.raises(RuntimeError):
        it.start()
    whole = it.world.read()
    it.world.write({**whole, "now": (it.world.now() + timedelta(hours=3)).isoformat()})
    it.world.each_second, it.world.asked = None, []
    row = it.start()
    assert row.outcome == "rolled back"
    assert "two versions stood side by side for longer than 2:00:00" in row.wanted_why
    assert it.world.asked[0] == "weigh archive"
    assert ends(it.world, PLACES) == {OLD.version}


def test_a_site_that_somebody_else_writes_at_is_waited_for(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)
    other = acquire(it.store, "archive", facility="made", command="pachon up")
    left = [3]

    def until_released(world: FiledWorld) -> None:
        left[0] -= 1
        if left[0] == 0:
            release(it.store, other, "done")

    it.world.each_second = until_released
    assert any("archive is being written to by" in each and "pachon up" in each for each in told_while(it))


def test_a_site_that_was_taken_from_a_process_that_stood_still_is_taken_anew_with_a_newer_token(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)
    overtaken: list[int] = []

    def overtake(world: FiledWorld) -> None:
        token = world.read()["tokens"].get("archive")
        if token and not overtaken:
            overtaken.append(token)
            with it.store.transaction() as connection:
                newer = {"fencing_token": token + 1, "released_at": world.now()}
                connection.execute(update(leases).where(leases.c.site == "archive").values(**newer))

    it.world.each_second = overtake
    assert it.start().outcome == "done"
    assert ends(it.world, PLACES) == {NEW.version}
    assert it.world.read()["tokens"]["archive"] >= overtaken[0] + 2


@pytest.mark.parametrize("what", ["weigh", "stop", "start"])
def test_what_a_front_door_or_a_host_refuses_turns_a_rollout_back_and_holds_no_version(what: str, folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, places=PLACES[:1])
    effect = getattr(it.world, what)

    async def refused(*given: Any, **named: Any) -> None:
        if it.row.wanted == "forward":
            raise PermanentError(f"{what}: the front door has no such server", cure="give it one")
        await effect(*given, **named)

    setattr(it.world, what, refused)
    row = it.start()
    assert (row.outcome, ends(it.world, PLACES[:1])) == ("rolled back", {OLD.version})
    assert f"{what}: the front door has no such server" in row.wanted_why
    held = [each.version for each in releases.on_record(it.store, "search").holds]
    assert held == ([NEW.version] if what == "start" else [])


@pytest.mark.parametrize("answer", [PermanentError("the query is not understood"), RefusedError("x"), float("nan")])
def test_a_query_that_has_no_answer_neither_opens_nor_shuts_a_gate(answer: Any, folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, places=PLACES[:1])
    asked: list[str] = []

    async def query(place: Place, query: str) -> float:
        asked.append(query)
        if len(asked) > 6:
            return 0.0
        if isinstance(answer, PachonError):
            raise answer
        return float(answer)

    it.world.query = query  # type: ignore[method-assign]
    said = told_while(it)
    assert any(each.startswith("errors: ") for each in said)
    watch = next(step for step in steps_of(it.store, it.row.id) if step.verb == "watch").evidence["watch"]
    assert watch["looks"] > 6 and watch["watched_seconds"] >= 5
    assert ends(it.world, PLACES[:1]) == {NEW.version}


def test_going_back_says_who_has_the_site_and_takes_it_as_soon_as_it_is_free(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, places=PLACES[:1])
    others = list[Lease]()
    free: list[datetime] = []
    waited: list[str] = []

    def beside(world: FiledWorld) -> None:
        row = it.row
        if row.wanted == "forward" and world.read()["places"][PLACES[0].address]["shares"][NEW.version]:
            ask(it.store, row.id, "paused", by="sol", why="lunch", at=world.now())
        elif row.wanted == "paused" and row.waits and not others:
            others.append(acquire(it.store, "archive", facility="made", command="pachon up"))
            ask(it.store, row.id, "back", by="sol", why="users complain", at=world.now())
        elif row.wanted == "back" and others and not free:
            waited.append(row.waits)
            if len(waited) == 90:
                release(it.store, others[0], "done")
                free.append(world.now())

    it.world.each_second = beside
    whole = it.world.weigh

    async def weigh(*given: Any, **named: Any) -> None:
        if free and len(free) == 1:
            free.append(it.world.now())
        await whole(*given, **named)

    it.world.weigh = weigh  # type: ignore[method-assign]
    assert it.start().outcome == "rolled back"
    assert "on the way back: site archive is being written to by" in waited[-1] and "pachon up" in waited[-1]
    assert free[1] - free[0] <= timedelta(seconds=1)


def test_on_the_way_back_whatever_fails_is_tried_again_until_it_is_done(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder, places=PLACES[:1])
    it.world.bad = "query"

    def lose(world: FiledWorld) -> None:
        if it.row.wanted == "forward":
            world.away = {"weigh": 3, "stop": 3}

    it.world.each_second = lose
    said: list[str] = []
    assert it.start(progress=lambda event: said.append(event.message)).outcome == "rolled back"
    assert any(
        "waits for archive/service/search/us-dac, on the way back: weigh cannot be asked" in each for each in said
    )
    assert ends(it.world, PLACES[:1]) == {OLD.version}


def test_paused_it_gives_the_site_back_and_goes_on_when_it_may(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)
    seen: list[int] = []

    def pause(world: FiledWorld) -> None:
        moments = len(world.asked)
        row = it.row
        if row.wanted == "forward" and not seen and world.read()["places"][PLACES[0].address]["shares"][NEW.version]:
            ask(it.store, row.id, "paused", by="rayen", why="the network is being worked on", at=world.now())
            seen.append(moments)
        elif row.wanted == "paused":
            seen.append(moments)
            if row.waits:
                with hold(it.store, "archive", facility="made", command="up"):
                    pass
            if len(seen) > 20:
                ask(it.store, row.id, "forward", by="rayen", why="it is done", at=world.now())

    it.world.each_second = pause
    said = told_while(it)
    assert any("paused by rayen: the network is being worked on" in each for each in said)
    assert len(set(seen[2:])) == 1  # nothing is asked and nothing done while it is paused
    assert ends(it.world, PLACES) == {NEW.version}


def test_aborted_it_goes_back_from_where_it_is_and_nothing_is_held(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)

    def abort(world: FiledWorld) -> None:
        if world.read()["places"][PLACES[1].address]["shares"][NEW.version] and it.row.wanted == "forward":
            assert releases.on_record(it.store, "search").proven == {(NEW.digest, "archive", "us-dac")}
            ask(it.store, it.row.id, "back", by="sol", why="users complain", at=world.now())

    it.world.each_second = abort
    row = it.start()
    assert (row.outcome, row.wanted_by, row.wanted_why) == ("rolled back", "sol", "users complain")
    assert ends(it.world, PLACES) == {OLD.version}
    known = releases.on_record(it.store, "search")
    assert (known.holds, known.proven) == ((), frozenset())  # what has gone back is proven nowhere
    with pytest.raises(RefusedError, match="has ended"):
        ask(it.store, row.id, "forward", by="x", why="x", at=NOW)


def test_one_rollout_of_a_service_at_a_time(folder: Path) -> None:
    it = stage(open_store(folder / "store.db"), folder)
    held = hold(it.store, lease_name("search"), facility="made", command="pachon rollout start")
    with held, pytest.raises(LeaseHeldError, match="rollout/search is being written to"):
        it.start()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    strategy=st.sampled_from([BlueGreen(), Rolling(at_once=1), Rolling(at_once=2), rules().strategy]),
    counts=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    bad=st.sampled_from(["", "start", "health", "smoke", "query"]),
    begins=st.integers(0, 60),
    lost=st.dictionaries(st.sampled_from(["query", "start", "stop", "weigh", "health"]), st.integers(1, 4)),
    aborted=st.one_of(st.none(), st.integers(0, 80)),
)
def test_random_rollouts_keep_the_order_of_waves_and_end_new_or_old_everywhere(
    folder: Path,
    strategy: Any,
    counts: tuple[int, int],
    bad: str,
    begins: int,
    lost: Any,
    aborted: Any,
) -> None:
    inside = Path(tempfile.mkdtemp(dir=folder))
    places = (place(instances=counts[0]), place("base", instances=counts[1]))
    it = stage(
        open_store(inside / "store.db"),
        inside,
        places=places,
        strategy=strategy,
        pace=Pace(soak_seconds=2, check_seconds=1),
    )
    it.world.away = dict(lost)
    ticks = [0]

    def beside(world: FiledWorld) -> None:
        ticks[0] += 1
        world.bad = bad if ticks[0] > begins else ""
        if aborted is not None and ticks[0] == aborted and it.row.ended_at is None and it.row.wanted == "forward":
            ask(it.store, it.row.id, "back", by="sol", why="enough", at=world.now())

    it.world.each_second = beside
    row = it.start()
    assert ends(it.world, places) == {NEW.version if row.outcome == "done" else OLD.version}
    if row.outcome == "done":
        assert aborted is None or ticks[0] < aborted or row.wanted == "forward"
    taken = [step for step in steps_of(it.store, row.id) if step.way == "forward"]
    order = list(dict.fromkeys(step.place for step in taken))
    assert order == [each.address for each in places][: len(order)]
    assert [step.number for step in taken] == list(range(1, len(taken) + 1))
    it.store.close()
