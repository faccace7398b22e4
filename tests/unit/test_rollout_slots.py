"""Slots and weights: random numbers of instances and shares, and orders in which weights change."""

import random
from fractions import Fraction

import pytest

from pachon.errors import PermanentError, RefusedError
from pachon.model.instance import Slot
from pachon.rollout.slots import HEAVIEST, in_turn, server_of, slot_for, slot_of, weights

OLD, NEW = "1.0.0", "1.1.0"
NEAR = 0.01
"""How far under the share two weights may leave it, as a part of it, where servers are few."""


def drawn(dice: random.Random) -> tuple[dict[str, int], dict[str, list[str]]]:
    share = dice.choice([0, 1, 5, 5, 25, 50, 75, 99, 100, dice.randint(0, 100)])
    names = {version: [f"{version}-{number}" for number in range(dice.randint(1, 40))] for version in (OLD, NEW)}
    return {OLD: 100 - share, NEW: share}, names


def got(weight: dict[str, int], names: dict[str, list[str]]) -> Fraction:
    """Percent of the requests that the new version gets."""
    new, old = (sum(weight[name] for name in names[version]) for version in (NEW, OLD))
    assert new + old > 0
    return Fraction(100 * new, new + old)


def test_a_version_never_gets_more_than_its_share_and_nearly_that() -> None:
    dice = random.Random(1)
    for _ in range(3000):
        shares, names = drawn(dice)
        found = weights(shares, names)
        assert set(found) == {name for each in names.values() for name in each}
        assert all(0 <= weight <= HEAVIEST for weight in found.values())
        assert got(found, names) <= shares[NEW]
        assert (got(found, names) == 0) == (shares[NEW] == 0)
        assert (got(found, names) == 100) == (shares[NEW] == 100)
        assert len({found[name] for name in names[OLD]}) == 1
        even = len({found[name] for name in names[NEW]}) == 1
        assert even or {found[name] for name in names[NEW]} == {0, 1}
        if shares[NEW] <= 50 and len(names[NEW]) <= 2 * len(names[OLD]):
            assert even
            assert got(found, names) >= shares[NEW] * (1 - NEAR)


def test_the_first_share_of_one_among_many_is_at_most_five_percent_and_not_none() -> None:
    for old in range(1, 60):
        for new in range(1, 60):
            names = {OLD: [f"o{each}" for each in range(old)], NEW: [f"n{each}" for each in range(new)]}
            assert 0 < got(weights({OLD: 95, NEW: 5}, names), names) <= 5


def test_what_has_no_server_gets_no_requests() -> None:
    for shares in ({OLD: 95, NEW: 5}, {OLD: 0, NEW: 100}):
        with pytest.raises(PermanentError, match=r"1\.1\.0, and nothing of it stands"):
            weights(shares, {OLD: ["one"], NEW: []})
    assert weights({OLD: 100, NEW: 0}, {OLD: ["one"]}) == {"one": HEAVIEST}


def test_while_weights_change_one_by_one_nobody_gets_more_than_before_or_after() -> None:
    dice = random.Random(2)
    for _ in range(2000):
        shares, names = drawn(dice)
        before = weights(shares, names)
        if dice.random() < 0.3:
            before = {name: 100 if name in names[OLD] else 0 for name in before}
        after = weights(drawn(dice)[0], names)
        most = max(got(before, names), got(after, names))
        now = dict(before)
        for name, weight in in_turn(before, after, coming=names[NEW]).items():
            assert now[name] != weight
            now[name] = weight
            assert got(now, names) <= most
        assert now == after


def test_a_release_takes_the_slot_that_the_other_has_not_and_keeps_the_one_it_has() -> None:
    taken: dict[Slot, str] = {}
    assert slot_of(taken, OLD) is None
    for version, slot in ((OLD, "a"), (OLD, "a"), (NEW, "b"), (NEW, "b"), (OLD, "a")):
        assert slot_for(taken, version, instance="host01") == slot
        taken[slot_for(taken, version, instance="host01")] = version
    del taken["a"]
    assert slot_for(taken, "1.2.0", instance="host01") == "a"
    assert slot_for(taken, NEW, instance="host01") == "b"
    with pytest.raises(RefusedError, match="no room for"):
        slot_for({"a": OLD, "b": NEW}, "1.2.0", instance="host01")
    assert server_of("host01", "b") == "host01.b"
