"""Steps that a killed run left begun are ended as the world shows them, so that nothing looks for them for ever."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.provider import settling
from infra.provider.context import machine_at
from infra.provider.families import FAMILIES
from infra.provider.family import create
from infra.provider.inputs import HostInputs
from infra.provider.main import context_of
from pachon.drivers.run_file import RunFile
from pachon.model.hardware import Kind, ResourceInputs, inputs_of
from pachon.model.lifecycle import MachineState
from pachon.store.database import Store
from pachon.store.journal import Verb, standing, unfinished
from pachon.store.machines import machine
from pachon.store.tables import leases
from tests.worlds import World, facility, images, make_world, without_hosts

HOST, MACHINE = FAMILIES[Kind.HOST.value], FAMILIES[Kind.MACHINE.value]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, facility(hosts=1), Path("unused"))


@pytest.fixture
def store(world: World) -> Iterator[Store]:
    opened = world.store
    yield opened
    opened.close()


def declared(world: World, kind: Kind) -> ResourceInputs:
    return next(each for each in inputs_of(world.facility, "base", images())["compute"] if each.kind is kind)


def run_file(world: World, store: Store) -> RunFile:
    """Of a run that takes the lease over (this process cannot die for the one before)."""
    with store.transaction() as connection:
        connection.execute(leases.update().values(released_at=store.now(connection)))
    return world.engine(world.acquire()).run_file(world.stack())


def work(run: RunFile, operation: Any, *arguments: Any) -> None:
    async def go() -> None:
        context = context_of(run)
        try:
            await operation(context, *arguments)
        finally:
            await context.close()

    asyncio.run(go())


async def begin(context: Any, verb: Verb, resource: ResourceInputs) -> None:
    """What is left of a step that was killed before its effect."""
    given: Any = {"kind": resource.kind.value, "generation": resource.generation, "inputs": dict(resource.inputs)}
    await context.journal.intend(resource.address, verb, **given)


async def take_off(context: Any, resource: ResourceInputs) -> None:
    """The effect of a host's delete, which its killed run told nobody of."""
    there = machine_at(context, HostInputs.model_validate(resource.inputs))
    await context.world.stop(there)
    await context.world.revoke(there)
    await context.world.set_asset_tag(there, "")


def settle(world: World, store: Store) -> list[str]:
    run = run_file(world, store)
    newest = {entry.step for entry in standing(store, "base")}
    return asyncio.run(settling.settle(run, unfinished(store, "base", run_id=run.run_id), newest=newest))


def made(world: World, store: Store) -> ResourceInputs:
    """The host, which stands."""
    run, host = run_file(world, store), declared(world, Kind.HOST)
    work(run, create, MACHINE, dict(declared(world, Kind.MACHINE).inputs))
    work(run, create, HOST, dict(host.inputs))
    return host


def life(store: Store) -> tuple[MachineState, str]:
    known = machine(store, "S0001")
    assert known is not None
    return known.state, known.address


def test_a_delete_whose_effect_is_there_is_done_and_its_machine_is_free(world: World, store: Store) -> None:
    host = made(world, store)
    run = run_file(world, store)
    work(run, begin, "delete", host)
    work(run, take_off, host)
    assert life(store) == (MachineState.ACTIVE, host.address)
    assert settle(world, store) == [host.address]
    assert life(store) == (MachineState.AVAILABLE, "")
    assert [entry.address for entry in standing(store, "base")] == ["base/machine/S0001"]


def test_a_delete_without_effect_is_left_to_whoever_mends_it(world: World, store: Store) -> None:
    host = made(world, store)
    work(run_file(world, store), begin, "delete", host)
    assert settle(world, store) == []
    assert life(store) == (MachineState.ACTIVE, host.address)


def test_an_update_whose_effect_is_there_is_done(world: World, store: Store) -> None:
    host = made(world, store)
    work(run_file(world, store), begin, "update", host)
    assert settle(world, store) == [host.address]
    (entry,) = [each for each in standing(store, "base") if each.address == host.address]
    assert (entry.verb, entry.outcome) == ("update", "done")


def test_a_create_without_effect_that_nothing_wants_any_more_stands_no_longer(world: World, store: Store) -> None:
    host = declared(world, Kind.HOST)
    work(run_file(world, store), begin, "create", host)
    assert settle(world, store) == [], "it is wanted, so it will be made"
    assert settle(world.of(without_hosts(world.facility, "base-h001")), store) == [host.address]
    assert standing(store, "base") == []


def test_what_does_not_answer_is_left_as_it_is(world: World, store: Store) -> None:
    host = made(world, store)
    work(run_file(world, store), begin, "update", host)
    world.settings(faults={"S0001": "its BMC does not answer"})
    assert settle(world, store) == []
