"""Two front doors of a site as one, real ones: shares at both, drains, what is away, and nobody unserved meanwhile."""

import asyncio
import shutil
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from pachon.drivers.front_door import Wanted
from pachon.errors import PermanentError, RefusedError, TemporaryError
from pachon.rollout.doors import Doors
from tests.doors import BACKEND, Door, standing, until

OLD, NEW = "1.0.0", "1.1.0"
SERVERS = {OLD: ("one.a", "two.a"), NEW: ("one.b", "two.b")}
ALL = {OLD: 100, NEW: 0}


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, Door]]:
    folder = tmp_path_factory.mktemp("d")
    with standing(folder, "one.a", "two.a", "one.b", "two.b") as first:
        second = Door(tmp_path_factory.mktemp("e"), first.carriers)
        shutil.copytree(folder / "pki", second.folder / "pki")
        (second.folder / "kept").mkdir()
        try:
            second.configure()
            second.start()
            until(lambda: all(server.healthy for server in first.servers().values()))
            until(lambda: all(server.healthy for server in second.servers().values()))
            yield first, second
        finally:
            second.kill()


def doors(pair: tuple[Door, Door]) -> Doors:
    return Doors({"door01": pair[0].driver, "door02": pair[1].driver})


def do(asked: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asked)


def weights(door: Door) -> dict[str, int]:
    return {name: server.weight for name, server in door.servers().items()}


def test_shares_are_the_same_at_every_front_door_and_may_be_set_again(pair: tuple[Door, Door]) -> None:
    all_of_them = doors(pair)
    do(all_of_them.hold_back(BACKEND, SERVERS[NEW]))
    for door in pair:
        assert {name for name, weight in weights(door).items() if weight} == set(SERVERS[OLD])
        assert door.who(12) == set(SERVERS[OLD])
    for _ in range(2):
        do(all_of_them.weigh(BACKEND, {OLD: 95, NEW: 5}, SERVERS))
        assert weights(pair[0]) == weights(pair[1])
    answers = Counter(pair[1].get()[1] for _ in range(120))
    new = sum(answers[name] for name in SERVERS[NEW])
    assert 1 <= new <= 8
    do(all_of_them.weigh(BACKEND, ALL, SERVERS))
    assert all(door.who(12) == set(SERVERS[OLD]) for door in pair)


def test_going_over_from_one_release_to_the_other_and_back_fails_no_request(pair: tuple[Door, Door]) -> None:
    all_of_them, failed, over = doors(pair), Counter[int](), threading.Event()

    def users() -> None:
        while not over.is_set():
            failed[pair[0].get()[0]] += 1

    do(all_of_them.weigh(BACKEND, ALL, SERVERS))
    thread = threading.Thread(target=users)
    thread.start()
    try:
        for share in (100, 0, 50, 100, 5, 0):
            do(all_of_them.weigh(BACKEND, {OLD: 100 - share, NEW: share}, SERVERS))
    finally:
        over.set()
        thread.join()
    assert set(failed) == {200}


def test_a_release_that_no_front_door_sees_answer_gets_nothing_yet(pair: tuple[Door, Door]) -> None:
    all_of_them = doors(pair)
    do(all_of_them.weigh(BACKEND, ALL, SERVERS))
    for carrier in pair[0].carriers[2:]:
        carrier.stop()
    until(lambda: not any(pair[0].servers()[name].healthy for name in SERVERS[NEW]))
    until(lambda: not any(pair[1].servers()[name].healthy for name in SERVERS[NEW]))
    with pytest.raises(TemporaryError, match=r"sees nothing of 1\.1\.0 answer yet: one\.b ready, .*L4CON"):
        do(all_of_them.weigh(BACKEND, {OLD: 0, NEW: 100}, SERVERS))
    assert all(weights(door)["one.a"] for door in pair)
    do(all_of_them.weigh(BACKEND, ALL, SERVERS))


def test_what_is_drained_and_closed_gets_nothing_and_its_requests_end_first(pair: tuple[Door, Door]) -> None:
    all_of_them = doors(pair)
    for _ in range(2):
        do(all_of_them.drain(BACKEND, ["one.a"]))
        assert all(door.servers()["one.a"].wanted is Wanted.DRAIN for door in pair)
    assert do(all_of_them.under_way(BACKEND, ["one.a"])) == 0
    for _ in range(2):
        do(all_of_them.close(BACKEND, ["one.a"]))
        closed = [door.servers()["one.a"] for door in pair]
        assert {(each.wanted, each.weight) for each in closed} == {(Wanted.MAINTENANCE, 0)}
    assert "one.a" not in pair[0].who()
    do(all_of_them.hold_back(BACKEND, ["one.a"]))
    assert all(door.servers()["one.a"].wanted is Wanted.READY for door in pair)
    do(all_of_them.drain(BACKEND, ["one.a"]))
    with pytest.raises(TemporaryError, match=r"sees nothing of 1\.0\.0"):
        do(all_of_them.weigh(BACKEND, ALL, {OLD: ["one.a"], NEW: ["one.b"]}))


def test_a_front_door_that_is_away_is_named_and_the_others_have_done_it(pair: tuple[Door, Door]) -> None:
    all_of_them = doors(pair)
    pair[0].kill()
    away = Doors({"door09": pair[0].driver, "door02": pair[1].driver})
    with pytest.raises(TemporaryError, match="the front door door09"):
        do(away.weigh(BACKEND, ALL, SERVERS))
    assert weights(pair[1])["one.b"] == 0
    pair[0].start()
    until(lambda: all(server.healthy for server in pair[0].servers().values()))
    do(all_of_them.weigh(BACKEND, ALL, SERVERS))
    assert weights(pair[0]) == weights(pair[1])


def test_what_is_not_there_is_no_reason_to_wait(pair: tuple[Door, Door]) -> None:
    with pytest.raises(RefusedError, match="no server three"):
        do(doors(pair).hold_back(BACKEND, ["three.a"]))
    with pytest.raises(PermanentError, match="nothing of it stands"):
        do(doors(pair).weigh(BACKEND, ALL, {OLD: [], NEW: ["one.b"]}))
