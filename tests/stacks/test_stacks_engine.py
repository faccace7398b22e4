import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pachon.drivers.pulumi import Engine, Stack
from pachon.drivers.run_file import Allowed
from pachon.errors import PartialError, PermanentError
from pachon.model.stack_documents import StackDocument
from pachon.progress import Event
from pachon.store.lease import Lease
from tests.worlds import World, facility, make_world, pulumi_cli, without_hosts

CANARY = "canary-5ad1c2"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, facility(hosts=2, switches=1, volumes=1), pulumi_cli())


@pytest.fixture
def lease(world: World) -> Iterator[Lease]:
    lease = world.acquire()
    yield lease
    world.release(lease)


def verbs(actions: Any) -> dict[str, str]:
    return {action.address: action.verb for action in actions}


def up(engine: Engine, stack: Stack, **further: Any) -> Any:
    result = asyncio.run(engine.up(stack, **further))
    result.raise_if_failed("up")
    return result


def test_create_update_replace_refresh_import_and_delete_under_the_real_engine(world: World, lease: Lease) -> None:
    events: list[Event] = []
    engine = replace(world.engine(lease), progress=events.append)
    stack = world.stack()

    planned = asyncio.run(engine.preview(stack))
    assert set(verbs(planned).values()) == {"create"}
    assert world.serial(1)["asset_tag"] == "", "a preview changed the world"

    made = up(engine, stack)
    assert made.changes == {"create": 4}
    document = StackDocument.model_validate(made.outputs["document"])
    assert [host.address for host in document.hosts] == ["base/host/base-h001", "base/host/base-h002"]
    assert any(event.message == "booting the deploy image" for event in events)

    # in place: a host's groups
    site = world.facility.sites[0]
    hosts = (site.hosts[0].model_copy(update={"groups": ("batch", "development")}), *site.hosts[1:])
    regrouped = world.of(
        world.facility.model_copy(update={"sites": (site.model_copy(update={"hosts": hosts}),)})
    ).stack()
    (change,) = [action for action in asyncio.run(engine.preview(regrouped)) if action.verb != "none"]
    assert (change.address, change.verb) == ("base/host/base-h001", "update")
    assert [each.key for each in change.changes] == ["groups"]
    assert up(engine, regrouped).changes == {"update": 1, "none": 3}
    assert world.serial(1)["images_written"] == 1

    # the world moves: one host is switched off, one is taken away
    for number, change_of in ((1, {"on": False}), (2, {"asset_tag": "", "on": False, "deploy": None})):
        path = world.folder / "machines" / f"S000{number}.json"
        path.write_text(json.dumps({**world.serial(number), **change_of}))
    found = verbs(asyncio.run(engine.preview(regrouped, refresh=True)))
    assert (found["base/host/base-h001"], found["base/host/base-h002"]) == ("update", "create")
    up(engine, regrouped, refresh=True)
    assert (world.serial(1)["on"], world.serial(1)["images_written"], world.serial(2)["images_written"]) == (True, 1, 2)

    # another image: replaced, deleted first
    newer = replace(regrouped, images=world.stack(version=2).images)
    assert up(engine, newer).changes == {"replace": 2, "none": 2}
    assert world.serial(1)["images_written"] == 2

    # the state is lost; everything is imported by its address and then nothing is to be done
    asyncio.run(engine.refresh(newer))
    for path in (world.state / "pulumi" / ".pulumi" / "stacks").rglob("*.json*"):
        path.unlink()
    addresses = [resource.address for resource in newer.resources]
    imported = asyncio.run(engine.import_(newer, addresses))
    assert sorted(each.address for each in imported) == sorted(addresses)
    again = up(engine, newer)
    assert set(again.changes) <= {"none", "update"}
    assert world.serial(1)["images_written"] == 2

    gone = asyncio.run(engine.destroy(newer))
    gone.raise_if_failed("destroy")
    assert gone.changes == {"delete": 4}
    assert (world.serial(1)["on"], world.serial(1)["asset_tag"]) == (False, "")


def test_network_and_storage_follow_their_hosts_and_nothing_secret_reaches_the_engine(
    world: World, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACHON_CANARY", CANARY)
    (world.state / "secrets").mkdir(mode=0o700, parents=True, exist_ok=True)
    (world.state / "secrets" / "bmc-base").write_text(CANARY)
    engine = world.engine(lease)
    for name in ("network", "compute", "storage"):
        up(engine, world.stack(name))
    assert world.host_file("base-sw003")["segments"]["br110"]["ports"] == ["swp1", "swp2"]
    assert world.host_file("base-h001")["volumes"]["pool1/scratch1"]["mounted"] is True
    up(engine, world.stack("compute", version=2))
    assert world.host_file("base-h001")["volumes"]["pool1/scratch1"]["mounted"] is False
    mounted = up(engine, world.stack("storage", version=2))
    assert mounted.changes == {"update": 1}
    assert world.host_file("base-h001")["volumes"]["pool1/scratch1"]["mounted"] is True
    passphrase = (world.state / "secrets" / "pulumi-passphrase").read_text()
    for path in world.state.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            content = path.read_bytes()
            assert CANARY.encode() not in content, path
            assert passphrase.encode() not in content, path


def test_one_failing_machine_does_not_stop_the_others_and_is_told_with_its_cure(world: World, lease: Lease) -> None:
    world.settings(faults={"S0001": "its BMC does not answer"})
    engine = world.engine(lease)
    result = asyncio.run(engine.up(world.stack()))
    assert [failure.address for failure in result.failures] == ["base/machine/S0001"]
    assert verbs(result.actions)["base/host/base-h002"] == "create"
    assert world.serial(2)["images_written"] == 1
    with pytest.raises(PartialError) as caught:
        result.raise_if_failed("up")
    ((address, error),) = caught.value.failures
    assert (address, error.message, error.cure) == (
        "base/machine/S0001",
        "machine S0001: its BMC does not answer",
        "mend the machine",
    )
    world.settings()
    assert up(engine, world.stack()).changes == {"create": 2, "none": 2}


def test_the_engine_does_only_what_the_plan_allows(world: World, lease: Lease) -> None:
    engine = world.engine(lease)
    planned = asyncio.run(engine.preview(world.stack()))
    allowed = [
        Allowed(address=action.address, verb="create", generation=action.generation)
        for action in planned
        if action.address != "base/host/base-h002"
    ]
    result = asyncio.run(engine.up(world.stack(), allowed=allowed))
    (failure,) = result.failures
    assert (failure.address, failure.error) == ("base/host/base-h002", "RefusedError")
    assert (world.serial(1)["images_written"], world.serial(2)["images_written"]) == (1, 0)


def test_wrong_inputs_and_a_change_without_a_lease_are_refused(world: World, lease: Lease) -> None:
    engine = world.engine(lease)
    site = world.facility.sites[0]
    hosts = (site.hosts[0].model_copy(update={"name": "Not A Name"}), *site.hosts[1:])
    wrong = world.facility.model_copy(update={"sites": (site.model_copy(update={"hosts": hosts}),)})
    with pytest.raises(PartialError, match="Not A Name"):
        asyncio.run(engine.preview(world.of(wrong).stack()))
    with pytest.raises(PermanentError, match="without the lease"):
        asyncio.run(world.engine(None).up(world.stack()))


def test_a_host_dropped_from_the_definition_is_deleted(world: World, lease: Lease) -> None:
    engine = world.engine(lease)
    up(engine, world.stack())
    smaller = world.of(without_hosts(world.facility, "base-h002")).stack()
    planned = verbs(asyncio.run(engine.preview(smaller)))
    assert planned["base/host/base-h002"] == "delete"
    assert up(engine, smaller).changes == {"delete": 2, "none": 2}
    assert world.serial(2)["asset_tag"] == ""


def test_a_replacement_whose_delete_fails_is_told_and_does_not_hold_up_the_run_for_ever(
    world: World, lease: Lease
) -> None:
    asyncio.run(world.engine(lease).up(world.stack()))
    world.settings(faults={"S0001": "its BMC does not answer"})
    result = asyncio.run(world.engine(lease).up(world.stack(version=2)))
    assert "base/host/base-h001" in {failure.address for failure in result.failures}
    world.settings()
    again = asyncio.run(world.engine(lease).up(world.stack(version=2), refresh=True))
    assert again.failures == ()


def test_a_plug_in_that_ends_is_told_with_its_last_words_and_the_log_of_this_run(
    world: World, lease: Lease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in = tmp_path / "bin" / "pulumi-resource-pachon"
    plug_in.parent.mkdir()
    plug_in.write_text("#!/bin/sh\necho 'ValueError: the cat sat on it' >&2\nexit 3\n")
    plug_in.chmod(0o755)
    environment = Engine._environment

    def changed(engine: Engine, run_id: str, run_file: Path) -> dict[str, str]:
        given = environment(engine, run_id, run_file)
        return {**given, "PATH": f"{plug_in.parent}:{given['PATH']}"}

    monkeypatch.setattr(Engine, "_environment", changed)
    result = asyncio.run(world.engine(lease).up(world.stack()))
    (said,) = result.said
    assert "ValueError: the cat sat on it" in said
    assert "ValueError: the cat sat on it" in Path(result.log).read_text()
    assert lease.run_id in result.log
    assert world.serial(1)["images_written"] == 0
