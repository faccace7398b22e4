import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.provider import family as doing
from infra.provider import orphans
from infra.provider.context import Context
from infra.provider.families import FAMILIES, family_of
from infra.provider.folder import FolderWorld
from infra.provider.orphans import Orphan
from infra.provider.server import complaints, difference
from pachon.drivers.run_file import Allowed, RunFile
from pachon.errors import PachonError, PermanentError, RefusedError, TemporaryError
from pachon.model.hardware import Kind, ResourceInputs, StackName, inputs_of
from pachon.model.stamp import Stamp
from pachon.store.journal import count_steps
from pachon.store.machines import machine
from tests.worlds import World, facility, images, make_world

HOST = FAMILIES[Kind.HOST.value]
MACHINE = FAMILIES[Kind.MACHINE.value]
NETWORK = FAMILIES[Kind.NETWORK.value]
VOLUME = FAMILIES[Kind.VOLUME.value]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, facility(hosts=2, switches=1, volumes=1), Path("unused"))


def declared(world: World, stack: StackName, kind: Kind, version: int = 1) -> ResourceInputs:
    resources = inputs_of(world.facility, "base", images(version))[stack]
    return next(resource for resource in resources if resource.kind is kind)


def run_file(world: World, **changed: Any) -> RunFile:
    lease = world.acquire()
    run = world.engine(lease).run_file(world.stack())
    return run.model_copy(update=changed)


class Session:
    """One provider process's worth of operations, in this process."""

    def __init__(self, run: RunFile) -> None:
        self.run = run

    def __call__(self, operation: Any, *arguments: Any) -> Any:
        async def work() -> Any:
            context = Context(self.run, FolderWorld(Path(self.run.folder)))
            try:
                return await operation(context, *arguments)
            finally:
                await context.close()

        return asyncio.run(work())


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    yield Session(run_file(world))


def test_the_same_inputs_make_the_same_generation_and_only_some_changes_another(world: World) -> None:
    first = declared(world, "compute", Kind.HOST)
    assert declared(world, "compute", Kind.HOST) == first
    assert declared(world, "compute", Kind.HOST, version=2).generation != first.generation
    changed, forcing = difference(Kind.HOST, first.inputs, declared(world, "compute", Kind.HOST, version=2).inputs)
    assert changed == ["generation", "image"]
    assert forcing == ["image"]
    assert difference(Kind.HOST, first.inputs, {**first.inputs, "groups": ["batch", "dev"]}) == (["groups"], [])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"serial": "not a serial"}, "serial"),
        ({"bmc_address": "10.0.0.300"}, "bmc_address"),
        ({"groups": "batch"}, "groups"),
        ({"unknown": 1}, "unknown"),
        ({"nics": []}, "nics"),
    ],
)
def test_wrong_inputs_are_named_with_what_is_wrong(world: World, change: dict[str, Any], named: str) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    assert complaints(HOST, inputs) == []
    (complaint,) = complaints(HOST, {**inputs, **change})
    assert complaint[0].startswith(named)
    assert complaint[1]


def test_an_unknown_resource_type_is_refused_by_name() -> None:
    with pytest.raises(PachonError, match="no resource 'pachon:hardware:Toaster'"):
        family_of("urn:pulumi:s::p::pachon:components:Compute$pachon:hardware:Toaster::x")


def test_a_host_is_deployed_once_and_adopted_ever_after(world: World, session: Session) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    assert session(doing.create, HOST, inputs)["seen"]["adopted"] is False
    assert session(doing.create, HOST, inputs)["seen"]["adopted"] is True
    assert world.serial(1)["images_written"] == 1
    assert count_steps(world.store, "base", address=inputs["address"]) == 2


def test_a_machine_that_hangs_in_its_deploy_is_booted_once_more_and_then_given_up(
    world: World, session: Session
) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    path = world.folder / "machines" / "S0001.json"
    path.write_text(json.dumps({**world.serial(1), "hanging_boots": 1}))
    assert session(doing.create, HOST, inputs)["seen"]["adopted"] is False
    assert world.serial(1)["images_written"] == 1
    path.write_text(json.dumps({**world.serial(1), "hanging_boots": 2, "asset_tag": "", "stamp": "", "deploy": None}))
    with pytest.raises(TemporaryError, match="never called back"):
        session(doing.create, HOST, inputs)
    assert world.serial(1)["images_written"] == 1


def test_a_host_that_is_off_is_started_and_adopted_not_written_anew(world: World, session: Session) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    session(doing.create, HOST, inputs)
    path = world.folder / "machines" / "S0001.json"
    path.write_text(json.dumps({**world.serial(1), "on": False, "deploy": None}))
    assert session(doing.create, HOST, inputs)["seen"]["adopted"] is True
    assert world.serial(1)["images_written"] == 1
    assert world.serial(1)["on"] is True


def test_a_host_that_was_made_and_does_not_answer_is_not_written_over(world: World) -> None:
    run = run_file(world)
    run = run.model_copy(update={"budgets": run.budgets.model_copy(update={"ssh_seconds": 0.2})})
    session = Session(run)
    inputs = declared(world, "compute", Kind.HOST).inputs
    session(doing.create, HOST, inputs)
    path = world.folder / "machines" / "S0001.json"
    path.write_text(json.dumps({**world.serial(1), "stamp": "", "deploy": None}))
    with pytest.raises(PermanentError, match="has not answered"):
        session(doing.create, HOST, inputs)
    assert world.serial(1)["images_written"] == 1


def test_a_machine_that_carries_another_host_is_not_written_over(world: World, session: Session) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    path = world.folder / "machines" / "S0001.json"
    path.write_text(json.dumps({**world.serial(1), "asset_tag": "base/host/other@0123456789ab"}))
    with pytest.raises(RefusedError, match="carries base/host/other"):
        session(doing.create, HOST, inputs)
    assert world.serial(1)["images_written"] == 0


def test_delete_touches_only_its_own_generation_and_succeeds_when_it_is_gone(world: World, session: Session) -> None:
    old = declared(world, "compute", Kind.HOST).inputs
    new = declared(world, "compute", Kind.HOST, version=2).inputs
    session(doing.create, HOST, new)
    session(doing.delete, HOST, old)
    assert world.serial(1)["on"] is True
    session(doing.delete, HOST, new)
    assert (world.serial(1)["on"], world.serial(1)["asset_tag"]) == (False, "")
    session(doing.delete, HOST, new)
    record = machine(world.store, "S0001")
    assert record is None  # the machine itself was never enrolled here


def test_a_machine_that_is_not_what_the_tables_say_is_named_with_each_difference(
    world: World, session: Session
) -> None:
    inputs = declared(world, "compute", Kind.MACHINE).inputs
    path = world.folder / "machines" / "S0001.json"
    path.write_text(json.dumps({**world.serial(1), "macs": ["52:54:00:00:01:00"], "disks": {"D0001A": 1}}))
    with pytest.raises(PermanentError) as caught:
        session(doing.create, MACHINE, inputs)
    for part in ("no NIC with MAC 52:54:00:00:01:01", "disk D0001A has 0 GiB", "no disk D0001B", "hardware tables"):
        assert part in str(caught.value)
    path.write_text(json.dumps({**world.serial(1), "serial": "OTHER"}))
    with pytest.raises(PermanentError, match="its serial is 'OTHER'"):
        session(doing.create, MACHINE, inputs)


def test_enrolment_pins_the_bmc_and_a_changed_certificate_is_refused(world: World, session: Session) -> None:
    inputs = declared(world, "compute", Kind.MACHINE).inputs
    session(doing.create, MACHINE, inputs)
    record = machine(world.store, "S0001")
    assert record is not None
    assert record.bmc_tls_sha256 == world.serial(1)["tls_sha256"]
    path = world.folder / "machines" / "S0001.json"
    path.write_text(json.dumps({**world.serial(1), "tls_sha256": "f" * 64}))
    with pytest.raises(RefusedError, match="certificate"):
        session(doing.create, MACHINE, inputs)


def test_nothing_outside_the_approved_plan_is_done(world: World) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    allowed = Allowed(address=inputs["address"], verb="create", generation="000000000000")
    session = Session(run_file(world, allowed=(allowed,)))
    with pytest.raises(RefusedError, match="approved has no 'create'"):
        session(doing.create, HOST, inputs)
    assert world.serial(1)["asset_tag"] == ""
    assert count_steps(world.store, "base") == 0
    right = allowed.model_copy(update={"verb": "replace", "generation": inputs["generation"]})
    session.run = session.run.model_copy(update={"allowed": (right,)})
    session(doing.create, HOST, inputs)
    with pytest.raises(RefusedError, match="approved has no 'delete'"):
        session(doing.delete, HOST, inputs)


def test_nothing_is_begun_to_be_destroyed_after_its_approval_has_ended(world: World) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    now = datetime.now(UTC)
    session = Session(run_file(world, destroy_until=now - timedelta(minutes=1)))
    session(doing.create, HOST, inputs)
    with pytest.raises(RefusedError, match="the approval to destroy it ended at"):
        session(doing.delete, HOST, inputs)
    assert world.serial(1)["on"] is True
    session.run = session.run.model_copy(update={"destroy_until": now + timedelta(hours=1)})
    session(doing.delete, HOST, inputs)
    assert world.serial(1)["on"] is False


def test_a_network_is_changed_in_place_and_removed_only_under_its_stamp(world: World, session: Session) -> None:
    inputs = declared(world, "network", Kind.NETWORK).inputs
    session(doing.create, NETWORK, inputs)
    switch = inputs["switches"][0]
    assert world.host_file("base-sw003")["segments"]["br110"]["ports"] == ["swp1", "swp2"]
    fewer = {**inputs, "switches": [{**switch, "ports": ["swp2"]}]}
    session(doing.update, NETWORK, inputs, fewer)
    assert world.host_file("base-sw003")["segments"]["br110"]["ports"] == ["swp2"]
    found = session(NETWORK.read, inputs)
    assert found.inputs["switches"][0]["ports"] == ["swp2"]
    session(doing.delete, NETWORK, {**inputs, "generation": "0" * 12})
    assert "br110" in world.host_file("base-sw003")["segments"]
    session(doing.delete, NETWORK, inputs)
    assert world.host_file("base-sw003")["segments"] == {}


def test_a_volume_with_data_goes_only_when_its_destruction_was_approved_by_name(world: World) -> None:
    inputs = declared(world, "storage", Kind.VOLUME).inputs
    session = Session(run_file(world))
    session(doing.create, VOLUME, inputs)
    path = world.folder / "hosts" / "base-h001.json"
    state = world.host_file("base-h001")
    state["volumes"]["pool1/scratch1"]["data"] = "3 entries"
    path.write_text(json.dumps(state))
    with pytest.raises(RefusedError, match="holds data"):
        session(doing.delete, VOLUME, inputs)
    session.run = session.run.model_copy(update={"destroy_data": (inputs["address"],)})
    session(doing.delete, VOLUME, inputs)
    assert world.host_file("base-h001")["volumes"] == {}


def test_a_volume_goes_with_a_host_that_is_gone_and_is_not_looked_for_again(world: World, session: Session) -> None:
    host, inputs = declared(world, "compute", Kind.HOST).inputs, declared(world, "storage", Kind.VOLUME).inputs
    session(doing.create, HOST, host)
    session(doing.create, VOLUME, inputs)
    session(doing.delete, HOST, host)
    with pytest.raises(TemporaryError, match="no SSH answer"):
        session(doing.delete, VOLUME, inputs)
    orphan = Orphan(Stamp(address=inputs["address"], generation=inputs["generation"]), Kind.VOLUME, inputs)
    with pytest.raises(RefusedError, match="approved has no 'delete'"):
        asyncio.run(orphans.let_go(session.run.model_copy(update={"allowed": ()}), orphan, "its host is gone"))
    asyncio.run(orphans.let_go(session.run, orphan, "its host is gone"))
    session(doing.delete, VOLUME, inputs)


def test_a_bridge_goes_with_a_switch_that_is_to_go_and_does_not_answer(world: World, session: Session) -> None:
    inputs = declared(world, "network", Kind.NETWORK).inputs
    host = declared(world, "network", Kind.HOST).inputs
    session(doing.create, HOST, host)
    session(doing.create, NETWORK, inputs)
    path = next(path for path in (world.folder / "machines").iterdir() if path.stem == host["serial"])
    path.write_text(json.dumps({**json.loads(path.read_text()), "on": False}))
    with pytest.raises(TemporaryError, match="no SSH answer"):
        session(doing.delete, NETWORK, inputs)
    allowed = [
        Allowed(address=address, verb="delete", generation="") for address in (inputs["address"], host["address"])
    ]
    session.run = session.run.model_copy(update={"allowed": tuple(allowed)})
    session(doing.delete, NETWORK, inputs)


def test_a_host_turns_away_a_writer_whose_token_is_older(world: World) -> None:
    inputs = declared(world, "storage", Kind.VOLUME).inputs
    run = run_file(world)
    session = Session(run)
    state = {"fencing_token": run.fencing_token + 1, "segments": {}, "volumes": {}}
    (world.folder / "hosts").mkdir()
    (world.folder / "hosts" / "base-h001.json").write_text(json.dumps(state))
    with pytest.raises(PermanentError, match="later run"):
        session(doing.create, VOLUME, inputs)


def test_only_what_nothing_wants_is_an_orphan() -> None:
    def orphan(address: str, generation: str) -> Orphan:
        return Orphan(Stamp(address=address, generation=generation), Kind.HOST, {})

    candidates = [orphan("a", "new"), orphan("a", "old"), orphan("b", "x"), orphan("c", "x"), orphan("b", "x")]
    found = orphans.orphans(candidates, {"a": "new"}, [Stamp(address="c", generation="x")])
    assert [str(each.stamp) for each in found] == ["a@old", "b@x"]


def test_an_orphan_is_found_by_asset_tag_alone_and_destroyed_by_the_code_of_delete(world: World) -> None:
    inputs = declared(world, "compute", Kind.HOST).inputs
    run = run_file(world)
    Session(run)(doing.create, HOST, inputs)
    gone = {address: each for address, each in run.definition.items() if address != inputs["address"]}
    lost = run.model_copy(update={"definition": gone})
    world.store.close()
    for path in world.state.glob("store.db*"):
        path.unlink()
    lease = world.acquire()
    lost = lost.model_copy(update={"run_id": lease.run_id, "fencing_token": lease.fencing_token})
    (found,) = asyncio.run(orphans.find(lost, in_state=[]))
    assert found.as_action().verb == "delete"
    asyncio.run(orphans.destroy(lost, found))
    assert (world.serial(1)["on"], world.serial(1)["asset_tag"]) == (False, "")
    assert asyncio.run(orphans.find(lost, in_state=[])) == []


def test_progress_and_failures_are_written_as_they_happen(world: World, session: Session) -> None:
    world.settings(faults={"S0001": "its BMC does not answer"})
    inputs = declared(world, "compute", Kind.MACHINE).inputs
    with pytest.raises(PermanentError):
        session(doing.create, MACHINE, inputs)
    events = [json.loads(line) for line in Path(session.run.events).read_text().splitlines()]
    assert [event["state"] for event in events] == ["started", "failed"]
    (failure,) = [json.loads(line) for line in Path(session.run.failures).read_text().splitlines()]
    assert failure["address"] == inputs["address"]
    assert failure["cure"] == "mend the machine"
