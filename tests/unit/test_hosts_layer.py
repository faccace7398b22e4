"""The hosts layer: what is played, what is proven by receipts, and what a play that failed or was killed leaves."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from infra.boot import ca
from pachon import definition, hostvars, secrets
from pachon.drivers.ansible import Verdict
from pachon.errors import PermanentError, RefusedError
from pachon.layers import bounds
from pachon.layers import hosts as layer_of_hosts
from pachon.layers.bounds import Bound
from pachon.layers.hosts import RoleWork, SiteHosts
from pachon.layers.role_trees import role_trees
from pachon.progress import Event
from pachon.store.database import Store, open_store
from pachon.store.lease import Lease, hold
from pachon.store.receipts import receipts_under
from pachon.store.tables import leases, receipts
from tests.fake_plays import GOOD, FakePlays, FakeProbe

SMALL = definition.load(Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small")
ONE = SMALL.sites[0]
STORAGE, ADMIN = "one-stor01", "one-adm01"
BAD = Verdict(state="failed", changed=0, task="firewall : Load the rules", message="no such table")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def lease(store: Store) -> Iterator[Lease]:
    with hold(store, ONE.name, facility=SMALL.name, command="test") as held:
        yield held


@pytest.fixture
def layer(store: Store, lease: Lease, tmp_path: Path) -> SiteHosts:
    return layer_at(store, tmp_path, lease=lease)


def layer_at(store: Store, state: Path, *, lease: Lease | None, generation: str = "g1") -> SiteHosts:
    made = SiteHosts(
        facility=SMALL,
        site=ONE,
        state=state,
        store=store,
        generations={host.name: generation for host in ONE.active_hosts},
        baked={"server": hostvars.ROLES, "switch": hostvars.EVERY_HOST},
        lease=lease,
    )
    made.probe = FakeProbe()
    made.make_secrets()
    return made


def play(layer: SiteHosts, *names: str) -> list[layer_of_hosts.Trouble]:
    return asyncio.run(layer.play(names or [host.name for host in ONE.active_hosts]))


def roles(works: Mapping[str, Sequence[RoleWork]], host: str) -> list[str]:
    return [work.role for work in works.get(host, ())]


def test_a_new_host_is_played_all_of_its_roles_in_order(layer: SiteHosts) -> None:
    pending = layer.pending()
    assert roles(pending, STORAGE) == [
        role for role in hostvars.roles_of(next(h for h in ONE.hosts if h.name == STORAGE)) if role in role_trees()
    ]
    assert {work.verb for works in pending.values() for work in works} == {"create"}


def test_what_was_played_well_is_not_played_again(layer: SiteHosts, plays: FakePlays) -> None:
    assert play(layer) == []
    assert layer.pending() == {}
    assert play(layer) == []
    assert len(plays.books) == 1


def test_another_generation_of_a_host_is_played_again(layer: SiteHosts, plays: FakePlays, tmp_path: Path) -> None:
    play(layer)
    works = layer_at(layer.store, tmp_path, lease=layer.lease, generation="g2").pending()
    assert {work.verb for each in works.values() for work in each} == {"update"}
    assert len(works) == len(ONE.active_hosts)


def test_the_same_generation_installed_anew_is_played_again(layer: SiteHosts, plays: FakePlays, tmp_path: Path) -> None:
    """Its machine was deployed once more, and made other host keys: nothing of what was played is left."""
    ca.ensure_site(tmp_path, ONE)
    play(layer)
    key = (tmp_path / "ca" / ONE.name / "ssh_user_ca.pub").read_text()  # any key will do
    machine = next(host for host in ONE.hosts if host.name == ADMIN).machine
    ca.sign_host(tmp_path, ONE.name, serial=machine, public_keys=[key], names=[ADMIN])
    assert list(layer.pending()) == [ADMIN]


def test_arguments_of_a_role_count(layer: SiteHosts, plays: FakePlays, monkeypatch: pytest.MonkeyPatch) -> None:
    play(layer)
    real, host = hostvars.of_role, next(each for each in ONE.hosts if each.name == ADMIN)
    monkeypatch.setattr(
        hostvars, "of_role", lambda *given: real(*given) | ({"base_x": 1} if given[1:] == (host, "base") else {})
    )
    pending = layer.pending()
    assert (list(pending), roles(pending, ADMIN)) == ([ADMIN], ["base"])


def test_text_of_a_role_counts(layer: SiteHosts, plays: FakePlays, monkeypatch: pytest.MonkeyPatch) -> None:
    play(layer)
    trees = {**role_trees(), "storage": "another"}
    monkeypatch.setattr(layer_of_hosts, "role_trees", lambda: trees)
    pending = layer.pending()
    assert (list(pending), roles(pending, STORAGE)) == ([STORAGE], ["storage"])


def test_a_secret_that_was_replaced_counts(
    layer: SiteHosts, plays: FakePlays, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = next(each for each in ONE.hosts if each.name == ADMIN)
    monkeypatch.setattr(
        hostvars, "secrets_of", lambda facility, each, role: {"x-one": 32} if (each, role) == (host, "base") else {}
    )
    layer.make_secrets()
    play(layer)
    assert layer.pending() == {}
    (tmp_path / "secrets" / "x-one").write_text("another")
    assert roles(layer.pending(), ADMIN) == ["base"]
    secrets.path_of(tmp_path, "x-one").unlink()
    assert roles(layer.pending(), ADMIN) == ["base"], "a plan says so too, where nothing is made"


def test_a_role_whose_work_wears_off_is_played_again(layer: SiteHosts, plays: FakePlays) -> None:
    play(layer)
    with layer.store.transaction() as connection:
        connection.execute(update(receipts).values(at=datetime.now(UTC) - timedelta(days=20)))
    assert {work.role for works in layer.pending().values() for work in works} == {"certificates"}


def test_a_failure_stops_its_host_only_and_leaves_the_role_to_be_settled(layer: SiteHosts, plays: FakePlays) -> None:
    plays.verdict = lambda role, host: BAD if (role, host) == ("firewall", ADMIN) else GOOD
    told: list[Event] = []
    layer.progress = told.append
    (trouble,) = play(layer)
    assert trouble.address == f"{ONE.name}/host/{ADMIN}"
    assert trouble.error == "role firewall: Load the rules: no such table"
    assert trouble.cure
    ended = {event.address.rpartition("/")[2]: event.state for event in told if event.state in {"done", "failed"}}
    assert ended == {host.name: "failed" if host.name == ADMIN else "done" for host in ONE.active_hosts}
    left = layer.pending()
    assert list(left) == [ADMIN]
    assert roles(left, ADMIN)[0] == "firewall"
    assert all(work.settle for work in left[ADMIN])
    plays.verdict = lambda role, host: GOOD
    assert play(layer) == []
    assert [book.skipped_tags for book in plays.books] == [("settle",), ()]
    assert plays.books[-1].variables[ADMIN]["firewall_settle"] is True
    assert layer.pending() == {}


def test_roles_that_ansible_left_out_since_others_failed_are_played(layer: SiteHosts, plays: FakePlays) -> None:
    """The only host of one role fails; hosts of roles after that one must not be left alone."""
    plays.verdict = lambda role, host: BAD if role == "switch" else GOOD
    (trouble,) = play(layer)
    assert trouble.address == f"{ONE.name}/host/one-sw01"
    assert list(layer.pending()) == ["one-sw01"]
    assert len(plays.books) == 2


def test_a_killed_play_leaves_intents_and_no_receipt(layer: SiteHosts, plays: FakePlays) -> None:
    class KilledError(BaseException):
        pass

    def die(role: str, host: str) -> Verdict:
        if role == "firewall":
            raise KilledError
        return GOOD

    plays.verdict = die
    with pytest.raises(KilledError):
        play(layer)
    left = layer.pending()
    assert roles(left, ADMIN)[0] == "base", "nobody has recorded what roles before the kill left"
    assert all(work.settle and work.verb == "update" for work in left[ADMIN])


def test_hosts_that_are_through_have_their_receipts_though_the_play_of_others_is_killed(
    layer: SiteHosts, plays: FakePlays
) -> None:
    class KilledError(BaseException):
        pass

    def whole() -> set[str]:
        """Hosts of which all roles have a receipt that holds."""
        known = receipts_under(layer.store, f"{ONE.name}/host/").values()
        begun = {each.address.split("/")[2] for each in known if each.is_intent}
        return {each.address.split("/")[2] for each in known} - begun

    async def die_late(role: str) -> None:
        parts = plays.books[0].parts
        if role == parts[-2].role:
            async with asyncio.timeout(60):
                while len(whole()) < len(ONE.active_hosts) - len(parts[-1].hosts):  # noqa: ASYNC110  # nobody is woken
                    await asyncio.sleep(0.01)
            raise KilledError

    plays.between = die_late
    with pytest.raises(KilledError):
        play(layer)
    assert whole() == {host.name for host in ONE.active_hosts} - set(plays.books[0].parts[-1].hosts)
    assert set(layer.pending()) == set(plays.books[0].parts[-1].hosts)


def test_a_lease_that_is_lost_while_others_are_played_ends_the_run(layer: SiteHosts, plays: FakePlays) -> None:
    async def lose(role: str) -> None:
        with layer.store.transaction() as connection:
            connection.execute(update(leases).values(fencing_token=leases.c.fencing_token + 1))

    plays.between = lose
    with pytest.raises(RefusedError, match="no longer holds the lease"):
        play(layer)
    assert all(each.is_intent for each in receipts_under(layer.store, f"{ONE.name}/host/").values())


def test_a_role_without_a_task_for_the_host_is_played_well(layer: SiteHosts, plays: FakePlays) -> None:
    plays.verdict = lambda role, host: None if role == "base" else GOOD
    assert play(layer) == []
    assert layer.pending() == {}


def test_hosts_that_ansible_lost_are_told_with_its_last_words(layer: SiteHosts, plays: FakePlays) -> None:
    plays.dies = True
    plays.error = PermanentError("ansible-playbook ended with status 1: no role 'x'")
    troubles = play(layer, STORAGE)
    assert len(troubles) == 1
    assert "no role 'x'" in troubles[0].error


def test_what_the_image_brings_is_played_only_where_the_image_lacks_it(layer: SiteHosts, plays: FakePlays) -> None:
    play(layer)
    parts = {(part.role, part.host_only): set(part.hosts) for part in plays.books[0].parts}
    assert "one-sw01" in parts["switch", False]
    assert ("switch", True) not in parts
    assert "one-sw01" in parts["people", True]


def test_receipts_of_hosts_that_are_gone_are_forgotten(layer: SiteHosts, plays: FakePlays, tmp_path: Path) -> None:
    play(layer)
    fewer = ONE.model_copy(update={"hosts": tuple(host for host in ONE.hosts if host.name != ADMIN)})
    layer.site = fewer
    layer.forget_strangers()
    known = receipts_under(layer.store, f"{ONE.name}/host/")
    assert known and not any(f"/{ADMIN}/" in address for address in known)


def test_no_secret_is_among_what_ansible_is_told(layer: SiteHosts, plays: FakePlays, tmp_path: Path) -> None:
    play(layer)
    kept = [path.read_text() for path in (tmp_path / "secrets").iterdir()]
    assert kept and not any(secret in str(plays.books[0].variables) for secret in kept)


def test_a_host_that_needs_more_than_the_approved_plan_holds_is_left_alone(layer: SiteHosts, plays: FakePlays) -> None:
    layer.bound = Bound({work.address: work.given for work in layer.pending([STORAGE])[STORAGE]})
    (trouble,) = play(layer, STORAGE, ADMIN)
    assert trouble.address == f"one/host/{ADMIN}"
    assert "which the plan does not hold" in trouble.error
    assert layer.refused == {f"one/host/{ADMIN}"}
    assert {host for book in plays.books for part in book.parts for host in part.hosts} == {STORAGE}


@pytest.mark.parametrize("changed", ["text", "arguments"])
def test_a_role_that_is_not_what_was_planned_any_more_is_not_played(
    changed: str, layer: SiteHosts, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = layer.pending([STORAGE])[STORAGE]
    role = works[0].role
    given = {work.address: work.given for work in works}
    layer.bound = Bound(given)
    if changed == "text":
        edited = {**role_trees(), role: "another"}
        monkeypatch.setattr(bounds, "trees_now", lambda: edited)  # as if edited while the plan is carried out
    else:
        given[works[0].address] = "of other arguments"
    (trouble,) = play(layer, STORAGE)
    assert trouble.error == f"{role} would be played with another text or other arguments than were planned"
    assert layer.refused == {f"one/host/{STORAGE}"} and not plays.books
