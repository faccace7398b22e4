"""Steps that a killed run left begun are ended as the world shows them, so that nothing looks for them for ever."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.provider import orphans, settling
from infra.provider.context import machine_at
from infra.provider.families import FAMILIES
from infra.provider.family import create, delete
from infra.provider.host import _moved
from infra.provider.inputs import HostInputs
from infra.provider.main import context_of
from pachon.drivers.run_file import Declared, RunFile
from pachon.model.hardware import Kind, ResourceInputs, inputs_of
from pachon.model.lifecycle import MachineState
from pachon.store.database import Store
from pachon.store.journal import Entry, Verb, last_steps, standing, unfinished
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
    await context.world.set_asset_tag(there, "")
    await context.world.revoke(there)


async def order(context: Any, resource: ResourceInputs) -> None:
    """The effects of a host's create before its machine is marked."""
    wanted = HostInputs.model_validate(resource.inputs)
    await _moved(context, wanted, MachineState.DEPLOYING)
    await context.world.order(machine_at(context, wanted), dict(resource.inputs))


def open_steps(store: Store) -> list[Entry]:
    return unfinished(store, "base", run_id="")


def settle(world: World, store: Store) -> list[str]:
    run = run_file(world, store)
    begun = unfinished(store, "base", run_id=run.run_id)
    return asyncio.run(settling.settle(run, begun, last=last_steps(store, "base")))


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
    assert settle(world.of(without_hosts(world.facility, "base-h001")), store) == ["base/machine/S0001"]
    assert life(store) == (MachineState.ACTIVE, host.address)
    assert [entry.address for entry in standing(store, "base")] == [host.address]


def test_a_delete_that_was_taken_back_before_its_effect_has_failed_and_its_host_stands(
    world: World, store: Store
) -> None:
    host = made(world, store)
    work(run_file(world, store), begin, "delete", host)
    assert settle(world, store) == [host.address]
    assert open_steps(store) == []
    assert (last_steps(store, "base")[host.address].verb, life(store)[0]) == ("update", MachineState.ACTIVE)


@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_a_step_that_a_later_one_has_overtaken_is_ended(world: World, store: Store, verb: Verb) -> None:
    host = declared(world, Kind.HOST)
    work(run_file(world, store), begin, verb, host)
    made(world, store)
    assert settle(world, store) == [host.address]
    assert open_steps(store) == []
    assert (last_steps(store, "base")[host.address].verb, life(store)[0]) == ("create", MachineState.ACTIVE)


def test_an_order_whose_host_was_dropped_before_its_machine_was_marked_is_withdrawn(world: World, store: Store) -> None:
    host = declared(world, Kind.HOST)
    run = run_file(world, store)
    work(run, create, MACHINE, dict(declared(world, Kind.MACHINE).inputs))
    work(run, begin, "create", host)
    work(run, order, host)
    assert (life(store), world.serial(1)["deploy"]["state"]) == ((MachineState.DEPLOYING, host.address), "waiting")
    assert host.address in settle(world.of(without_hosts(world.facility, "base-h001")), store)
    assert (life(store), world.serial(1)["deploy"]) == ((MachineState.AVAILABLE, ""), None)
    assert standing(store, "base") == open_steps(store) == []


def test_a_machine_that_was_let_go_and_is_declared_again_is_known_to_stand(world: World, store: Store) -> None:
    made(world, store)
    machine_of_it = declared(world, Kind.MACHINE)
    work(run_file(world, store), delete, MACHINE, dict(machine_of_it.inputs))
    assert machine_of_it.address not in {entry.address for entry in standing(store, "base")}
    assert settle(world, store) == [machine_of_it.address]
    assert machine_of_it.address in {entry.address for entry in standing(store, "base")}


def test_a_host_that_was_moved_while_its_machine_was_silent_is_still_found_there(world: World, store: Store) -> None:
    host, run = declared(world, Kind.HOST), run_file(world, store)
    there = {**host.inputs, "serial": "S0002", "generation": "0" * 12}
    moved = ResourceInputs(kind=Kind.HOST, address=host.address, inputs=there)
    work(run, begin, "create", host)
    work(run, HOST.create, dict(host.inputs))
    work(run, begin, "create", moved)
    definition = {host.address: Declared(kind=Kind.HOST.value, inputs=there)}
    after = run_file(world, store).model_copy(update={"definition": definition})
    (found,) = asyncio.run(orphans.find(after, in_state=[]))
    assert (found.stamp.generation, found.inputs["serial"]) == (host.generation, "S0001")
    begun, last = unfinished(store, "base", run_id=after.run_id), last_steps(store, "base")
    asyncio.run(settling.settle(after, begun, last=last))
    assert host.generation in {entry.generation for entry in open_steps(store)}, "it is yet to be removed"


def test_a_volume_whose_host_is_gone_is_looked_for_by_nobody(world: World, store: Store) -> None:
    inputs = {"address": "base/volume/scratch", "host": "base-h009"}
    given: Any = {"kind": Kind.VOLUME.value, "generation": "0" * 12, "inputs": inputs}

    async def begin_it(context: Any) -> None:
        await context.journal.intend("base/volume/scratch", "create", **given)

    work(run_file(world, store), begin_it)
    assert settle(world, store) == ["base/volume/scratch"]
    assert standing(store, "base") == open_steps(store) == []


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
