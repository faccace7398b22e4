"""Plans of rollouts: order, shares, room, the way back, windows, and everything that forbids one to begin."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachon.errors import RefusedError, UsageError
from pachon.model.rollout import Artefact, BlueGreen, Canary, Pace, Place, Release, Rolling, Strategy, WaveRule, Window
from pachon.model.rollout_record import Hold
from pachon.model.service import Change
from pachon.rollout import windows
from pachon.rollout.plan import EFFECTS, RolloutPlan, Step
from pachon.rollout.planning import plan
from pachon.rollout.returning import way_back
from tests.rollouts import ANY_HOUR, NEW, NOW, OLD, ZONES, facts, place, release, rules, service

strategies = st.one_of(
    st.just(BlueGreen()),
    st.builds(Rolling, at_once=st.integers(1, 4)),
    st.builds(
        Canary,
        shares_percent=st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(
            lambda shares: tuple(sorted(shares))
        ),
    ),
)


@dataclass
class Stand:
    """A place as steps leave it: who stands in which version, who gets how much."""

    place: Place
    least: int
    there: dict[str, set[str]] = field(default_factory=dict)
    ready: set[tuple[str, str]] = field(default_factory=set)
    shares: dict[str, int] = field(default_factory=lambda: {OLD.version: 100, NEW.version: 0})

    def __post_init__(self) -> None:
        self.there = {OLD.version: set(self.place.instances), NEW.version: set()}
        self.ready = {(OLD.version, name) for name in self.place.instances}

    def take(self, step: Step) -> None:
        """Carry a step out, and see that nobody is sent where nothing is."""
        match step.verb:
            case "start":
                self.there[step.version] |= set(step.instances)
            case "ready":
                self.ready |= {(step.version, name) for name in step.instances}
            case "weigh":
                self.shares = dict(step.shares_percent)
            case "stop":
                self.there[step.version] -= set(step.instances)
                self.ready -= {(step.version, name) for name in step.instances}
        total = sum(map(len, self.there.values()))
        assert total <= len(self.place.instances) + self.place.room
        for version, share in self.shares.items():
            assert not share or any(each == version for each, _ in self.ready), f"{share} % to {version}: nobody"
        assert len(self.ready) >= self.least


def may_be(strategy: Strategy, where: Place, least: int) -> RolloutPlan | None:
    pace = Pace(soak_seconds=1, least_serving=least)
    try:
        return plan(facts(where), rules(strategy=strategy, pace=pace), service(), NEW.version)
    except RefusedError as error:
        assert "cannot be drained" in error.message
        return None


@settings(max_examples=200, deadline=None)
@given(strategy=strategies, count=st.integers(1, 7), room=st.integers(0, 7), least=st.integers(1, 3))
def test_every_strategy_ends_in_the_new_release_without_sending_anybody_to_nothing(
    strategy: Strategy, count: int, room: int, least: int
) -> None:
    where = place(instances=count, room=room)
    made = may_be(strategy, where, min(least, count))
    if made is None:
        assert room < count
        return
    stand = Stand(where, min(least, count))
    for step in made.steps:
        stand.take(step)
    assert stand.there == {OLD.version: set(), NEW.version: set(where.instances)}
    assert stand.shares == {OLD.version: 0, NEW.version: 100}
    shares = [step.shares_percent[NEW.version] for step in made.steps if step.verb == "weigh"]
    assert shares[0] <= 5
    assert shares == sorted(shares)
    watched = [step.verb for step in made.steps]
    assert all(after == "watch" for before, after in pairwise(watched) if before == "weigh")


@settings(max_examples=200, deadline=None)
@given(
    strategy=strategies,
    count=st.integers(1, 7),
    room=st.integers(0, 7),
    until=st.floats(0, 1),
    in_it=st.booleans(),
)
def test_from_wherever_a_rollout_turns_back_it_ends_in_the_old_release(
    strategy: Strategy, count: int, room: int, until: float, in_it: bool
) -> None:
    where = place(instances=count, room=room)
    made = may_be(strategy, where, 1)
    if made is None:
        return
    steps = list(made.steps)
    begun = steps[: round(until * len(steps))]
    stand = Stand(where, 0)
    for step in begun:
        if step is not begun[-1] or in_it:  # the last one was begun, and may have had its effect or not
            stand.take(step)
    back = way_back(made, {step.number for step in begun})
    for step in back:
        stand.take(step)
    assert stand.there == {OLD.version: set(where.instances), NEW.version: set()}
    assert stand.shares == {OLD.version: 100, NEW.version: 0}
    if any(step.verb in EFFECTS for step in begun):
        assert back[-1].verb == "settle"
    else:
        assert back == ()


def test_sites_change_in_the_order_of_the_waves_and_go_back_the_other_way_round() -> None:
    made = plan(facts(), rules(), service(), NEW.version)
    order = list(dict.fromkeys(step.place for step in made.steps))
    assert [wave.name for wave in made.waves] == ["archive", "base"]
    assert order == ["archive/service/search/us-dac", "base/service/search/us-dac"]
    assert [step.number for step in made.steps] == list(range(1, len(list(made.steps)) + 1))
    back = way_back(made, {step.number for step in made.steps})
    assert list(dict.fromkeys(step.place for step in back)) == order[::-1]
    assert made.seal == plan(facts(), rules(), service(), NEW.version).seal


def test_old_instances_that_stand_get_all_requests_before_anything_else_is_done_on_the_way_back() -> None:
    made = plan(facts(place()), rules(), service(), NEW.version)
    first_watch = next(step.number for step in made.steps if step.verb == "watch")
    back = way_back(made, range(1, first_watch + 1))
    assert back[0].verb == "weigh"
    assert back[0].shares_percent == {OLD.version: 100, NEW.version: 0}


HELD = Hold(service="search", version=NEW.version, why="it leaks", by="quilla", rollout="r1", at=NOW)
TAGGED = release(NEW.version, artefacts=(Artefact(name="image", digest="search:latest"),))
BY_DAY = Change(when="by-day", approver="team", notice_hours=None, observatory_veto=None, basis="ours")
IN_A_CIRCLE = (
    WaveRule(name="archive", places=("archive",), after=("base",)),
    WaveRule(name="base", places=("base",), after=("archive",)),
)


@pytest.mark.parametrize(
    ("changed", "ruled", "asked", "told"),
    [
        ({"releases": {NEW.version: NEW}}, {}, {}, "1.0.0, which serves now, is no release that is known"),
        (
            {"artefacts": {site: frozenset(each.digest for each in NEW.artefacts) for site in ZONES}},
            {},
            {},
            "search 1.0.0 could not be started again",
        ),
        (
            {"artefacts": {site: frozenset(each.digest for each in OLD.artefacts) for site in ZONES}},
            {},
            {},
            "search 1.1.0 cannot be started there",
        ),
        ({}, {"waves": IN_A_CIRCLE}, {}, "waves wait for each other in a circle: archive -> base -> archive"),
        ({"holds": (HELD,)}, {}, {}, "held since 2026-11-28 09:00 UTC by quilla: it leaks"),
        ({}, {}, {"sites": ("base",)}, "was not proven at archive/us-dac, which comes before"),
        ({"releases": {OLD.version: OLD, NEW.version: TAGGED}}, {}, {}, "named by a tag"),
        ({"recorded": {NEW.version: "sha256:other"}}, {}, {}, "is not what was rolled out under that version before"),
        ({}, {"strategy": BlueGreen(), "places": (place(room=1), place("base"))}, {}, "cannot be drained"),
        ({}, {"pace": Pace(soak_seconds=3600, mixed_minutes=30)}, {}, "may have two versions for 0:30:00"),
        ({}, {"change": BY_DAY}, {}, "has no window"),
        ({}, {"gates": ()}, {}, "no gate of search is a health contract"),
        ({}, {"waves": (WaveRule(name="archive", places=("archive",), after=()),)}, {}, "is in no wave"),
        ({"running": {}}, {}, {}, "there is no way back from a first release"),
    ],
)
def test_what_must_not_begin_is_refused_with_its_reason_and_a_cure(
    changed: dict[str, Any], ruled: dict[str, Any], asked: dict[str, Any], told: str
) -> None:
    ruled = dict(ruled)
    change, places = ruled.pop("change", None), ruled.pop("places", ())
    with pytest.raises(RefusedError) as caught:
        plan(facts(*places, **changed), rules(**ruled), service(change=change), NEW.version, **asked)
    assert told in str(caught.value)
    assert caught.value.cure or "\n  - " in caught.value.message


def test_what_was_proven_by_the_very_digest_may_go_on_to_the_next_site() -> None:
    proven = frozenset({(NEW.digest, "archive", "us-dac")})
    made = plan(facts(proven=proven), rules(), service(), NEW.version, sites=("base",))
    assert [wave.name for wave in made.waves] == ["base"]
    other = release(NEW.version, arguments={"search": {"version": NEW.version, "workers": 9}})
    elsewhere = frozenset({(NEW.digest, "archive", "prompt")})
    with pytest.raises(RefusedError, match="was not proven at archive/us-dac"):
        plan(facts(proven=elsewhere), rules(), service(), NEW.version, sites=("base",))
    with pytest.raises(RefusedError, match="was not proven at archive/us-dac"):
        plan(
            facts(proven=proven, releases={OLD.version: OLD, NEW.version: other}),
            rules(),
            service(),
            NEW.version,
            sites=("base",),
        )


def test_a_place_that_has_the_release_already_is_left_alone_and_all_of_them_are_no_rollout() -> None:
    there = facts()
    at_archive = {**there.running, "archive/service/search/us-dac": frozenset({NEW.version})}
    half = replace(there, running=at_archive, proven=frozenset({(NEW.digest, "archive", "us-dac")}))
    assert [each.site for each in plan(half, rules(), service(), NEW.version).places] == ["base"]
    with pytest.raises(UsageError, match=r"is at 1.1.0 already"):
        plan(replace(there, running=dict.fromkeys(at_archive, frozenset({NEW.version}))), rules(), service(), "1.1.0")
    with pytest.raises(UsageError, match=r"has no release '9\.9\.9'"):
        plan(there, rules(), service(), "9.9.9")


def test_the_observatorys_last_word_is_asked_for_where_the_catalogue_says_so() -> None:
    change = Change(when="any-time", approver="team", notice_hours=None, observatory_veto="LDM-230", basis="ours")
    assert plan(facts(), rules(), service(change=change), NEW.version).needs_word == "LDM-230"
    assert plan(facts(), rules(), service(), NEW.version).needs_word == ""


@pytest.mark.parametrize(
    ("old", "told"),
    [
        (OLD.model_copy(update={"arguments": {"search": {"version": "edited"}}}), "can no longer be what it was"),
        (OLD.model_copy(update={"artefacts": (Artefact(name="archive", digest="latest"),)}), "is named by a tag"),
    ],
)
def test_an_old_version_that_would_not_come_back_as_it_was_is_found_before_anything_begins(
    old: Release, told: str
) -> None:
    recorded = {OLD.version: OLD.digest} if "no longer" in told else {}
    known = facts(releases={OLD.version: old, NEW.version: NEW}, recorded=recorded)
    with pytest.raises(RefusedError, match=f"search 1.0.0, which serves now, {told}"):
        plan(known, rules(), service(), NEW.version)


WORKING = Window(days=("mon", "tue", "wed", "thu", "fri"), opens="09:00", closes="16:00", clock="site")
SATURDAY = NOW


def test_a_window_is_of_the_sites_own_clock_and_shown_on_all_of_them() -> None:
    found = windows.opening((WORKING,), ZONES["base"], SATURDAY, needed=timedelta(hours=1))
    assert found is not None
    assert found.opens == datetime(2026, 11, 30, 12, 0, tzinfo=UTC)  # nine o'clock in Chile's summer
    assert windows.clocks(found.opens, ZONES) == ("Mon 2026-11-30 12:00 UTC, Mon 06:00 at archive, Mon 09:00 at base")
    late = datetime(2026, 11, 30, 18, 30, tzinfo=UTC)  # half an hour before it closes
    assert windows.opening((WORKING,), ZONES["base"], late, needed=timedelta(minutes=20)).open_at(late)  # type: ignore[union-attr]
    later = windows.opening((WORKING,), ZONES["base"], late, needed=timedelta(hours=1))
    assert later is not None and later.opens.day == 1


def test_summer_time_moves_a_window_with_the_sites_clock() -> None:
    winter = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
    found = windows.opening((WORKING,), "America/Santiago", winter, needed=timedelta(0))
    assert found is not None and found.opens.hour == 13


def test_no_window_is_ever_long_enough_for_what_takes_longer() -> None:
    short = ANY_HOUR.model_copy(update={"opens": "09:00", "closes": "09:01"})
    with pytest.raises(RefusedError, match="no window lasts so long"):
        plan(facts(), rules(windows=(short,), pace=Pace(soak_seconds=60)), service(), NEW.version)
