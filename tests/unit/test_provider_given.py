"""What is not looked at is told by the journal: a killed run may have given it, and the engine's state is older."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from infra.provider import family as doing
from infra.provider.context import Context
from infra.provider.families import FAMILIES
from infra.provider.folder import FolderWorld
from pachon.drivers.run_file import Allowed, RunFile
from pachon.errors import PermanentError, RefusedError
from pachon.model.hardware import Kind, StackName, inputs_of
from tests.worlds import World, facility, images, make_world

HOST, NETWORK, VOLUME = (FAMILIES[kind.value] for kind in (Kind.HOST, Kind.NETWORK, Kind.VOLUME))
OTHER = "198.19.248.200"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, facility(hosts=2, switches=2, volumes=1), Path("unused"))


@pytest.fixture
def run(world: World) -> RunFile:
    return world.engine(world.acquire()).run_file(world.stack())


def declared(world: World, stack: StackName, kind: Kind, version: int = 1) -> dict[str, Any]:
    resources = inputs_of(world.facility, "base", images(version))[stack]
    return dict(next(resource for resource in resources if resource.kind is kind).inputs)


def once(run: RunFile, operation: Any, *arguments: Any) -> Any:
    """One provider process's worth of operations, in this process."""

    async def work() -> Any:
        context = Context(run, FolderWorld(Path(run.folder)))
        try:
            return await operation(context, *arguments)
        finally:
            await context.close()

    return asyncio.run(work())


async def begin(context: Context, verb: Any, kind: Kind, inputs: dict[str, Any]) -> None:
    """What is left of a step that was killed."""
    given: Any = {"kind": kind.value, "generation": inputs["generation"], "inputs": inputs}
    await context.journal.intend(inputs["address"], verb, **given)


def elsewhere(inputs: dict[str, Any]) -> dict[str, Any]:
    """The host with another address on its second NIC."""
    first, second = inputs["nics"]
    return {**inputs, "nics": [first, {**second, "address": OTHER, "prefix": 22}]}


def test_addresses_that_a_killed_run_gave_are_seen_and_taken_back(world: World, run: RunFile) -> None:
    inputs = declared(world, "compute", Kind.HOST)
    once(run, doing.create, HOST, inputs)
    assert once(run, HOST.read, inputs).inputs == inputs
    once(run, doing.update, HOST, inputs, elsewhere(inputs))  # and the engine's state was never written
    assert world.serial(1)["addresses"]["eth1"]["address"] == OTHER
    found = once(run, HOST.read, inputs)
    assert found.inputs["nics"] == elsewhere(inputs)["nics"]
    once(run, doing.update, HOST, found.inputs, inputs)
    assert world.serial(1)["addresses"]["eth1"].get("address") == inputs["nics"][1].get("address")
    assert once(run, HOST.read, inputs).inputs == inputs


def test_an_update_of_addresses_that_was_begun_and_taken_back_and_killed_again_is_still_to_be_made(
    world: World, run: RunFile
) -> None:
    inputs = declared(world, "compute", Kind.HOST)
    once(run, doing.create, HOST, inputs)
    once(run, begin, "update", Kind.HOST, elsewhere(inputs))
    once(run, begin, "update", Kind.HOST, inputs)
    for known in (inputs, elsewhere(inputs)):  # whichever of them the engine's state has
        assert once(run, HOST.read, known).inputs["nics"] == elsewhere(inputs)["nics"]


def test_a_host_that_was_ordered_with_other_addresses_is_given_its_own_when_it_is_adopted(
    world: World, run: RunFile
) -> None:
    inputs = declared(world, "compute", Kind.HOST)
    once(run, doing.create, HOST, elsewhere(inputs))
    assert once(run, doing.create, HOST, inputs)["seen"]["adopted"] is True
    assert world.serial(1)["addresses"]["eth1"].get("address") == inputs["nics"][1].get("address")
    assert world.serial(1)["images_written"] == 1


def test_a_mount_that_a_killed_run_gave_is_seen(world: World, run: RunFile) -> None:
    inputs = declared(world, "storage", Kind.VOLUME)
    once(run, doing.create, VOLUME, inputs)
    assert once(run, VOLUME.read, {**inputs, "mount": ""}).inputs == inputs
    once(run, begin, "update", Kind.VOLUME, {**inputs, "mount": "/srv/elsewhere"})
    assert once(run, VOLUME.read, inputs).inputs["mount"] == "/srv/elsewhere"


def test_a_switch_that_a_killed_run_gave_a_network_is_looked_at_and_loses_it(world: World, run: RunFile) -> None:
    inputs = declared(world, "network", Kind.NETWORK)
    (first,) = inputs["switches"]
    second = {**first, "host": "base-sw004", "management_address": "198.19.240.14", "ports": []}
    once(run, doing.create, NETWORK, inputs)
    once(run, doing.update, NETWORK, inputs, {**inputs, "switches": [first, second]})
    found = once(run, NETWORK.read, inputs)
    assert [switch["host"] for switch in found.inputs["switches"]] == [first["host"], "base-sw004"]
    once(run, doing.update, NETWORK, found.inputs, inputs)
    assert world.host_file("base-sw004")["segments"] == {}
    gone = {address: each for address, each in run.definition.items() if address != "base/host/base-sw004"}
    once(run, begin, "update", Kind.NETWORK, {**inputs, "switches": [first, second]})
    dropped = run.model_copy(update={"definition": gone})
    assert once(dropped, NETWORK.read, inputs).inputs == inputs, "a switch that is gone is asked nothing"


def test_a_host_that_still_carries_its_stamp_is_one_whose_keys_hold(
    world: World, run: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = declared(world, "compute", Kind.HOST)
    once(run, doing.create, HOST, inputs)

    async def silent(*given: Any) -> None:
        raise PermanentError("its BMC does not answer", cure="mend it")

    monkeypatch.setattr(FolderWorld, "set_asset_tag", silent)
    with pytest.raises(PermanentError):
        once(run, doing.delete, HOST, inputs)
    monkeypatch.undo()
    once(run, doing.update, HOST, inputs, inputs)  # the definition has it again
    assert (world.serial(1)["on"], world.serial(1)["revoked"]) == (True, False)


def test_a_replacement_removes_nothing_but_what_its_plan_saw(world: World, run: RunFile) -> None:
    first, second, third = (declared(world, "compute", Kind.HOST, version) for version in (1, 2, 3))
    once(run, doing.create, HOST, third)  # since the plan was made

    def allowed(before: str) -> RunFile:
        one = Allowed(address=first["address"], verb="replace", generation=second["generation"], before=before)
        return run.model_copy(update={"allowed": (one,)})

    planned = allowed(first["generation"])
    for operation, inputs in ((doing.delete, third), (doing.create, second)):
        with pytest.raises(RefusedError, match=f"'delete' of generation {third['generation']}"):
            once(planned, operation, HOST, inputs)
    assert world.serial(1)["asset_tag"].endswith(third["generation"])
    once(allowed(third["generation"]), doing.delete, HOST, third)
    assert world.serial(1)["asset_tag"] == ""


@pytest.mark.parametrize(
    ("moved", "said"),
    [({"serial": "S0099"}, "is machine S0099, not S0001"), ({"disks": {"D0001B": 1}}, "has no disk D0001A")],
)
def test_no_disk_is_written_on_another_machine_than_was_planned_for(
    world: World, run: RunFile, moved: dict[str, Any], said: str
) -> None:
    path = world.folder / "machines" / "S0001.json"
    path.write_text(json.dumps({**world.serial(1), **moved}))
    with pytest.raises(RefusedError, match=said):
        once(run, doing.create, HOST, declared(world, "compute", Kind.HOST))
    assert (world.serial(1)["images_written"], world.serial(1)["asset_tag"]) == (0, "")
