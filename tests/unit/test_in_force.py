"""What rollouts leave in force: on record before anything starts, fenced, and what ``plan`` and ``up`` go by."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pachon import apply, definition, hostvars, in_force, places
from pachon.cli import inventory
from pachon.cli.main import run
from pachon.errors import RefusedError
from pachon.layers.hosts import SiteHosts
from pachon.model.facility import Facility, Placement
from pachon.model.rollout import Artefact, Release
from pachon.plan.making import definition_of
from pachon.progress import silent
from pachon.store import instances, releases
from pachon.store.database import Store, open_store
from pachon.store.lease import Lease, acquire, hold, release
from tests.fake_plays import FakePlays, FakeProbe

CASE = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small"
SMALL = definition.load(CASE)
ONE, ADMIN = SMALL.sites[0].name, "one-adm01"
SERVICE = "provisioning"


def made(version: str) -> Release:
    """A release of the service that the small facility has on its admin host."""
    return Release(
        service=SERVICE,
        version=version,
        kind="role",
        artefacts=(Artefact(name="archive", digest="sha256:" + version[0] * 64),),
        arguments={"admin": {"archive": f"archive-{version}"}},
    )


OLD, NEW = made("1.0.0"), made("2.0.0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store that knows both releases."""
    opened = open_store(tmp_path / "store.db")
    with opened.transaction() as connection:
        for each in (OLD, NEW):
            releases.know_in(connection, each.model_dump(mode="json"), at=opened.now(connection))
    yield opened
    opened.close()


@pytest.fixture
def lease(store: Store) -> Iterator[Lease]:
    """The site's."""
    with hold(store, ONE, facility=SMALL.name, command="test") as held:
        yield held


def put(store: Store, lease: Lease, slot: Any, what: Release | None) -> None:
    """Have on record what a slot of the admin host is to have."""
    instances.put(store, lease, SERVICE, enclave="provisioning", host=ADMIN, slot=slot, release=what)


def put_in_force(store: Store, what: Release) -> None:
    """Have on record what the place is to have."""
    proof = releases.Proof(SERVICE, what.version, what.digest, site=ONE, enclave="provisioning")
    with store.transaction() as connection:
        releases.put_in_force_in(connection, proof, rollout="r", at=store.now(connection))


def slots(facility: Facility) -> object:
    """What the role is told of slots on the admin host; nothing where it goes by the definition."""
    host = next(each for each in facility.hosts if each.name == ADMIN)
    return hostvars.of_role(facility, host, "admin").get("admin_slots")


def told(release: Release) -> dict[str, object]:
    """What the role is told of an instance of a release."""
    return {"version": release.version, **release.arguments["admin"]}


def test_roles_are_told_what_each_slot_of_their_host_is_to_have(store: Store, lease: Lease) -> None:
    assert in_force.overlaid(SMALL, store) is SMALL
    assert slots(SMALL) is None
    put(store, lease, "a", OLD)
    put(store, lease, "b", NEW)
    assert slots(in_force.overlaid(SMALL, store)) == {"a": told(OLD), "b": told(NEW)}
    put(store, lease, "a", None)
    assert slots(in_force.overlaid(SMALL, store)) == {"b": told(NEW)}
    put_in_force(store, OLD)  # what the place has is for hosts that no rollout has been at
    put(store, lease, "b", None)
    assert slots(in_force.overlaid(SMALL, store)) == {}


def test_a_host_that_came_after_a_rollout_gets_what_is_in_force_at_its_place(store: Store) -> None:
    put_in_force(store, NEW)
    assert slots(in_force.overlaid(SMALL, store)) == {"a": told(NEW)}


def test_what_no_placement_has_any_more_is_told_to_nobody(store: Store, lease: Lease) -> None:
    put(store, lease, "a", NEW)
    moved = SMALL.model_copy(update={"placements": (Placement(service="x", site=ONE, enclave="e", group="admin"),)})
    assert slots(in_force.overlaid(moved, store)) is None


def test_an_instance_of_which_nobody_knows_what_it_is_is_refused(store: Store, lease: Lease) -> None:
    put(store, lease, "a", made("3.0.0"))
    with pytest.raises(RefusedError, match=r"3\.0\.0 is to stand on one-adm01.*not on record"):
        in_force.overlaid(SMALL, store)


def test_a_writer_that_was_overtaken_puts_nothing_on_record(store: Store) -> None:
    first = acquire(store, ONE, facility="f", command="c")
    release(store, first, "done")
    with hold(store, ONE, facility="f", command="c"), pytest.raises(RefusedError, match="no longer holds the lease"):
        put(store, first, "a", NEW)
    assert instances.standing(store) == ()


def layer(facility: Facility, store: Store, lease: Lease, state: Path) -> SiteHosts:
    """The site's hosts, of which the facility says what they are to have."""
    site = facility.site(ONE)
    found = SiteHosts(
        facility=facility,
        site=site,
        state=state,
        store=store,
        generations=dict.fromkeys((host.name for host in site.active_hosts), "g"),
        baked={"server": hostvars.ROLES, "switch": hostvars.EVERY_HOST},
        lease=lease,
    )
    found.probe = FakeProbe()
    found.make_secrets()
    return found


def test_after_a_rollout_nothing_is_pending_and_by_the_definition_alone_something_would_be(
    store: Store, lease: Lease, tmp_path: Path, plays: FakePlays
) -> None:
    everything = [host.name for host in SMALL.site(ONE).active_hosts]
    assert asyncio.run(layer(SMALL, store, lease, tmp_path).play(everything)) == []
    put(store, lease, "a", NEW)  # as a rollout does, before it plays
    rolled = in_force.overlaid(SMALL, store)
    assert list(layer(rolled, store, lease, tmp_path).pending()) == [ADMIN]
    assert asyncio.run(layer(rolled, store, lease, tmp_path).play([ADMIN])) == []
    assert layer(in_force.overlaid(SMALL, store), store, lease, tmp_path).pending() == {}
    assert list(layer(SMALL, store, lease, tmp_path).pending()) == [ADMIN]


def test_a_run_that_began_before_a_rollout_went_on_is_refused(store: Store, lease: Lease) -> None:
    in_force.refuse_moved(SMALL, store, [ONE])
    put(store, lease, "a", NEW)
    with pytest.raises(RefusedError, match="a rollout has changed at one which versions are in force"):
        in_force.refuse_moved(SMALL, store, [ONE])
    in_force.refuse_moved(SMALL, store, [])  # it writes at other sites only
    in_force.refuse_moved(in_force.overlaid(SMALL, store), store, [ONE])


def test_a_plan_says_by_name_that_versions_in_force_have_moved(store: Store, lease: Lease) -> None:
    put(store, lease, "a", NEW)
    before, after = definition_of(SMALL), definition_of(in_force.overlaid(SMALL, store))
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"versions in force at one"}


def test_commands_go_by_what_is_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PACHON_FACILITY", str(CASE))
    where = Path(places.store(places.state(SMALL.name)))
    where.parent.mkdir(parents=True)
    kept = open_store(where)
    with kept.transaction() as connection:
        releases.know_in(connection, NEW.model_dump(mode="json"), at=kept.now(connection))
    with hold(kept, ONE, facility=SMALL.name, command="test") as held:
        put(kept, held, "a", NEW)
    kept.close()
    assert run(["--json", "inventory", "--list"]) == 0
    assert json.loads(capsys.readouterr().out)["_meta"]["hostvars"][ADMIN]["admin_slots"] == {"a": told(NEW)}
    assert inventory.main(["--host", ADMIN]) == 0  # what plain Ansible reads
    assert json.loads(capsys.readouterr().out)["admin_slots"] == {"a": told(NEW)}


def test_up_does_nothing_where_a_rollout_went_on_since_it_read_the_facility(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hold(store, ONE, facility=SMALL.name, command="test") as held:
        put(store, held, "a", NEW)

    async def began(run: Any) -> None:
        raise AssertionError("it began")

    monkeypatch.setattr(apply, "_up", began)
    monkeypatch.setattr("pachon.apply.programs.find", Path)
    order = apply.Order(facility=SMALL, state=tmp_path, cache=tmp_path, command="pachon up", sites=SMALL.sites)
    with pytest.raises(RefusedError, match="a rollout has changed at one which versions are in force"):
        apply.up(order, silent)
    now = replace(order, facility=in_force.overlaid(SMALL, store))
    with pytest.raises(AssertionError, match="it began"):
        apply.up(now, silent)
