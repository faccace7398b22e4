"""Hosts are configured as they come to stand: a slow one holds up nobody, and none is played before it stands."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from pachon import configuring as module
from pachon.configuring import Configuring, Tap
from pachon.layers.hosts import SiteHosts, Trouble
from pachon.progress import Event, silent

NAMES = ("sw", "adm", "stor", "slow")


class FakeLayer:
    """Remembers what was played; one host fails."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.site = SimpleNamespace(active_hosts=[SimpleNamespace(name=name) for name in NAMES])

    async def play(self, names: Sequence[str], *, lane: int) -> list[Trouble]:
        """One batch."""
        self.batches.append(list(names))
        return [Trouble(address=f"one/host/{name}", error="x", cure="y") for name in names if name == "adm"]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.05)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)


def made(name: str, message: str = "create", stage: str = "compute") -> Event:
    return Event(stage, f"one/host/{name}", "done", message)


def carried_out(layer: FakeLayer, events: Sequence[Sequence[Event]], *, withheld: frozenset[str]) -> Configuring:
    """Events come in groups, each once the last group's hosts were played; then the stacks end."""

    async def go() -> Configuring:
        queue = Configuring(cast(SiteHosts, layer), set(NAMES), withheld=withheld)
        tap = Tap(silent, queue.listen)
        running = asyncio.create_task(queue.run())
        for group in events:
            known = len(layer.batches)
            for event in group:
                tap(event)
            while len(layer.batches) == known:  # noqa: ASYNC110 - the fake has nothing to tell by
                await asyncio.sleep(0.01)
        queue.add(withheld)
        queue.close()
        await running
        return queue

    return asyncio.run(asyncio.wait_for(go(), 30))


def test_hosts_that_stand_together_are_played_together_in_the_order_of_the_definition() -> None:
    layer = FakeLayer()
    done = carried_out(layer, [[made("adm"), made("sw", stage="network")], [made("slow")]], withheld=frozenset())
    assert layer.batches == [["sw", "adm"], ["slow"]]
    assert [trouble.address for trouble in done.troubles] == ["one/host/adm"]
    assert done.expected == {"stor"}


def test_hosts_that_come_late_wait_for_no_play_that_is_under_way() -> None:
    async def go() -> None:
        layer, free = FakeLayer(), asyncio.Event()

        async def play(names: Sequence[str], *, lane: int) -> list[Trouble]:
            layer.batches.append(list(names))
            await free.wait()
            return []

        setattr(layer, "play", play)  # noqa: B010  # mypy knows better
        queue = Configuring(cast(SiteHosts, layer), set(NAMES))
        running = asyncio.create_task(queue.run())
        for number, name in enumerate(NAMES, start=1):
            queue.listen(made(name))
            while len(layer.batches) < number:  # noqa: ASYNC110 - the fake has nothing to tell by
                await asyncio.sleep(0.01)
        assert layer.batches == [[name] for name in NAMES]
        free.set()
        queue.close()
        await running

    asyncio.run(asyncio.wait_for(go(), 30))


def test_a_host_that_waits_for_its_volumes_is_not_played_when_it_stands() -> None:
    layer = FakeLayer()
    done = carried_out(layer, [[made("stor"), made("sw")]], withheld=frozenset({"stor"}))
    assert layer.batches == [["sw"], ["stor"]]
    assert "stor" in done.heard


def test_a_host_that_was_only_removed_does_not_stand() -> None:
    layer = FakeLayer()
    carried_out(layer, [[made("adm", "delete"), made("sw")]], withheld=frozenset())
    assert layer.batches == [["sw"]]


def test_whoever_waits_for_hosts_goes_on_when_no_more_will_come() -> None:
    async def go() -> None:
        queue = Configuring(cast(SiteHosts, FakeLayer()), set(NAMES))
        waiting = asyncio.create_task(queue.until_stand(["stor", "adm"]))
        queue.listen(made("stor"))
        await asyncio.sleep(0)
        queue.stacks_ended()
        await waiting

    asyncio.run(asyncio.wait_for(go(), 30))
