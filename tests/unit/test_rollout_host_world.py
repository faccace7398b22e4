"""Slots on hosts: in which order things are done, what a second call does, and what is refused before it begins.

Front doors and plays are written down here in place of being told; ``faults/test_rollout_hosts.py`` has real ones.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from pachon import artefacts, definition
from pachon.definition import rollouts
from pachon.definition.catalogue import load
from pachon.errors import PachonError, PermanentError, RefusedError, TemporaryError, UsageError
from pachon.model.rollout import Release
from pachon.rollout.doors import Doors
from pachon.rollout.host_world import HostWorld
from pachon.rollout.playing import Roles
from pachon.rollout.subject import subject_of
from pachon.store import instances
from pachon.store.database import Store, open_store
from pachon.store.lease import Lease, hold
from pachon.store.releases import know_in
from tests.e2e import making, rolling

NAME = "x-slots"
HOSTS = tuple(making.host(NAME, number) for number in (3, 4))
BACKEND = f"{rolling.SERVICE}.https"


class ToldDoors:
    """Front doors that write down what they are told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.busy = 0

    async def hold_back(self, backend: str, names: Sequence[str]) -> None:
        self.told.append(f"hold back {' '.join(names)}")

    async def drain(self, backend: str, names: Sequence[str]) -> None:
        self.told.append(f"drain {' '.join(names)}")

    async def under_way(self, backend: str, names: Sequence[str]) -> int:
        self.busy = max(0, self.busy - 1)
        self.told.append(f"under way: {self.busy}")
        return self.busy

    async def close(self, backend: str, names: Sequence[str]) -> None:
        self.told.append(f"close {' '.join(names)}")

    async def weigh(self, backend: str, shares: Mapping[str, int], servers: Mapping[str, Sequence[str]]) -> None:
        self.told.append(f"weigh {dict(shares)} {dict(servers)}")


class Here(HostWorld):
    """The world with those doors, whose plays are written down with what the record has then."""

    def ready(self, told: list[str]) -> "Here":
        self.told, self.doors, self.fails = told, ToldDoors(told), cast("PachonError | None", None)
        return self

    def _doors(self, *_: object) -> Doors:
        return cast("Doors", self.doors)

    async def _reach(self, *_: object) -> None:
        if isinstance(self.fails, TemporaryError):
            raise self.fails

    async def _play(self, place: Any, names: Sequence[str], lease: Lease) -> None:
        there = {name: dict(self._taken(place)[name]) for name in names}
        self.told.append(f"play {there}")
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def rig(tmp_path: Path) -> rolling.Rolling:
    made = rolling.Rolling(NAME, tmp_path)
    rolling.make(made, network="198.19.176")
    rolling.add_release(made, "1.1.0", "good")
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "store.db")
    yield made
    made.close()


def world_of(rig: rolling.Rolling, store: Store, **changes: Any) -> Here:
    facility = definition.load(rig.definition)
    read = rollouts.read(rig.entry)
    assert read.rules is not None
    service = load(rig.entry.parent)[rolling.SERVICE]
    subject = subject_of(
        facility,
        service,
        rules=read.rules.model_copy(update=changes),
        releases=read.releases,
        definition=rig.definition,
    )
    with store.transaction() as connection:
        for release in read.releases.values():
            know_in(connection, release.model_dump(mode="json"), at=datetime.now(UTC))
    return Here(subject, Roles(facility, ("tap",), rig.state, rig.top, store)).ready([])


@pytest.fixture
def world(rig: rolling.Rolling, store: Store) -> Here:
    return world_of(rig, store)


@pytest.fixture
def lease(store: Store) -> Iterator[Lease]:
    with ExitStack() as stack:
        yield stack.enter_context(hold(store, rolling.SITE, facility=NAME, command="test"))


def do(asked: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asked)


def new(world: Here) -> Release:
    return world.subject.releases["1.1.0"]


def old(world: Here) -> Release:
    return world.subject.releases["1.0.0"]


def test_what_nobody_rolled_out_is_the_first_release_in_the_first_slot(world: Here) -> None:
    (place,) = world.subject.places
    assert do(world.look(place)) == {"1.0.0": HOSTS}


def test_a_release_comes_held_back_and_on_record_before_it_is_played_and_a_second_call_does_the_same(
    world: Here, store: Store, lease: Lease
) -> None:
    (place,) = world.subject.places
    for _ in range(2):
        world.told.clear()
        do(world.start(place, new(world), HOSTS[:1], lease=lease))
        slots = {HOSTS[0]: {"a": "1.0.0", "b": "1.1.0"}}
        assert world.told == [f"hold back {HOSTS[0]}.b", f"play {slots}"]
    assert do(world.look(place)) == {"1.0.0": HOSTS, "1.1.0": HOSTS[:1]}
    assert {(each.host, each.slot, each.version) for each in instances.standing(store)} == {
        (HOSTS[0], "a", "1.0.0"),
        (HOSTS[0], "b", "1.1.0"),
    }


def test_what_goes_is_drained_until_idle_closed_and_off_the_record_before_it_is_played(
    world: Here, store: Store, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pachon.rollout.host_world.LOOKS_SECONDS", 0)
    (place,) = world.subject.places
    do(world.start(place, new(world), HOSTS, lease=lease))
    world.told.clear()
    world.doors.busy = 3
    do(world.stop(place, old(world), HOSTS, lease=lease))
    servers = f"{HOSTS[0]}.a {HOSTS[1]}.a"
    played = f"play { ({name: {'b': '1.1.0'} for name in HOSTS}) }"
    idle = ["under way: 2", "under way: 1", "under way: 0"]
    assert world.told == [f"drain {servers}", *idle, f"close {servers}", played]
    world.told.clear()
    do(world.stop(place, old(world), HOSTS, lease=lease))
    assert world.told == [played], "it is off the record, and its play may have been killed"
    assert do(world.look(place)) == {"1.1.0": HOSTS}
    do(world.start(place, old(world), HOSTS[:1], lease=lease))
    assert do(world.look(place)) == {"1.0.0": HOSTS[:1], "1.1.0": HOSTS}


def test_an_instance_that_never_gets_idle_goes_all_the_same(
    world: Here, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pachon.rollout.host_world.LOOKS_SECONDS", 0)
    monkeypatch.setattr("pachon.rollout.host_world.DRAIN_SECONDS", 0.05)
    (place,) = world.subject.places
    world.doors.busy = 10**9
    do(world.stop(place, old(world), HOSTS[:1], lease=lease))
    assert world.told[-2:] == [f"close {HOSTS[0]}.a", f"play { ({HOSTS[0]: {}}) }"]


def test_who_lost_the_site_changes_nothing_and_blames_nobody(world: Here, store: Store, lease: Lease) -> None:
    (place,) = world.subject.places
    late = replace(lease, fencing_token=lease.fencing_token - 1)
    for effect in (world.start, world.stop):
        with pytest.raises(TemporaryError, match="no longer holds the lease"):
            do(effect(place, old(world), HOSTS, lease=late))
    assert instances.standing(store) == ()


def test_shares_name_the_servers_of_each_version_what_was_there_before_first(world: Here, lease: Lease) -> None:
    (place,) = world.subject.places
    do(world.start(place, new(world), HOSTS[:1], lease=lease))
    world.told.clear()
    do(world.weigh(place, {"1.1.0": 5, "1.0.0": 95}, lease=lease))
    servers = {"1.0.0": [f"{name}.a" for name in HOSTS], "1.1.0": [f"{HOSTS[0]}.b"]}
    assert list(world.told) == [f"weigh { ({'1.0.0': 95, '1.1.0': 5}) } {servers}"]


def test_a_query_is_of_the_servers_of_what_takes_over(world: Here, lease: Lease) -> None:
    (place,) = world.subject.places
    asked: list[str] = []

    class Told:
        async def query(self, query: str) -> float:
            asked.append(query)
            return 0.0

    world._measures = lambda _: Told()  # type: ignore[method-assign,assignment,return-value]
    do(world.query(place, 'up{server=~"{servers}"}'))
    do(world.start(place, new(world), HOSTS[:1], lease=lease))
    do(world.query(place, 'up{server=~"{servers}"}'))
    both = "|".join(f"{name}[.]a" for name in HOSTS)
    assert asked == [f'up{{server=~"{both}"}}', f'up{{server=~"{HOSTS[0]}[.]b"}}']


def test_instances_are_asked_at_the_port_of_their_slot(world: Here, lease: Lease) -> None:
    (place,) = world.subject.places
    seen: list[Mapping[str, Any]] = []

    class Told:
        async def health(self, targets: Mapping[str, Any], probe: object) -> str:
            seen.append(targets)
            return ""

        async def smoke(self, where: str, command: object) -> str:
            seen.append({"smoke": where})
            return ""

    world._measures = lambda _: Told()  # type: ignore[method-assign,assignment,return-value]
    do(world.start(place, new(world), HOSTS[:1], lease=lease))
    do(world.health(place, new(world), HOSTS[:1], "https"))
    do(world.health(place, old(world), HOSTS, "https"))
    do(world.smoke(place, new(world), HOSTS[0], ["/bin/true"]))
    do(world.smoke(place, new(world), "", ["/bin/true"]))
    assert [{name: each.port for name, each in targets.items()} for targets in seen[:2]] == [
        {f"{HOSTS[0]}.b": 8444},
        {f"{name}.a": 8443 for name in HOSTS},
    ]
    assert seen[2]["smoke"].endswith(":8444")
    assert seen[3]["smoke"] == f"{rolling.SERVICE}.here.{NAME}.pachon.test:443"
    gone = do(world.health(place, new(world), HOSTS, "https"))
    assert (gone.passed, gone.said) == (False, f"nothing of 1.1.0 is to stand on {HOSTS[1]}")


def _one_slot(rig: rolling.Rolling) -> dict[str, Any]:
    entry = rig.entry / "service.yaml"
    entry.write_text(entry.read_text().replace("    second_port: tcp/8444\n", ""))
    return {}


def _no_metrics(rig: rolling.Rolling) -> dict[str, Any]:
    site = rig.definition / "sites" / "here" / "site.yaml"
    site.write_text(site.read_text().replace(", metrics]", "]"))
    return {}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (_one_slot, UsageError, "room for one instance"),
        (_no_metrics, RefusedError, "no host of here is in the group metrics"),
        (lambda _: {"side_by_side": False}, UsageError, "two slots on each host, and its rollout.yaml says"),
    ],
)
def test_what_could_only_fail_in_the_middle_is_refused_before(
    rig: rolling.Rolling,
    store: Store,
    change: Callable[[rolling.Rolling], dict[str, Any]],
    kind: type[PachonError],
    words: str,
) -> None:
    changes = change(rig)
    with pytest.raises(kind, match=words):
        world_of(rig, store, **changes)


def test_artefacts_are_found_by_digest_and_one_that_was_altered_is_none(rig: rolling.Rolling, tmp_path: Path) -> None:
    state = tmp_path / "shelf"
    artefacts.shelve(rig.entry.parent, [rolling.SERVICE], state)
    digests = {each.digest for release in rollouts.read(rig.entry).releases.values() for each in release.artefacts}
    assert len(digests) == 3
    assert artefacts.shelved(state) == digests
    for path in (rig.entry / "artefacts").iterdir():
        path.unlink()
    artefacts.shelve(rig.entry.parent, [rolling.SERVICE], state)
    assert artefacts.shelved(state) == digests
    gone = sorted(digests)[0]
    artefacts.path_of(state, gone).write_text("something else")
    assert artefacts.shelved(state) == digests - {gone}


def test_the_shipped_release_is_what_its_file_names() -> None:
    for service in rolling.ENTRY.parent.iterdir():
        named = {each.digest for release in rollouts.read(service).releases.values() for each in release.artefacts}
        there = {artefacts_digest(path) for path in (service / "artefacts").glob("*")}
        assert named <= there, service.name


def artefacts_digest(path: Path) -> str:
    import hashlib

    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_host_that_is_away_is_no_bad_release(world: Here, lease: Lease) -> None:
    (place,) = world.subject.places
    world.fails = TemporaryError("x-slots-03 does not answer")
    with pytest.raises(TemporaryError):
        do(world.start(place, new(world), HOSTS[:1], lease=lease))
    assert world.told == []
    world.fails = PermanentError("role tap: a task fails")
    with pytest.raises(PermanentError):
        do(world.start(place, new(world), HOSTS[:1], lease=lease))
