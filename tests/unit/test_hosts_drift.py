"""What hosts are seen to have decides what is played: drift, strangers, silent hosts, and what nobody puts right."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pachon import definition, hostvars
from pachon.drivers import ansible
from pachon.layers import sight
from pachon.layers.hosts import RoleWork, SiteHosts
from pachon.model.manifest import Manifest
from pachon.store.database import open_store
from pachon.store.drift import Acceptance, accept
from pachon.store.lease import hold
from pachon.store.receipts import receipt, receipts_under
from tests.fake_plays import FakePlays, FakeProbe

SMALL = definition.load(Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small")
ONE = SMALL.sites[0]
ADMIN, STORAGE = "one-adm01", "one-stor01"
SUDOERS = "/etc/sudoers.d/pachon"
STRANGER = "/etc/sudoers.d/mallory"
RULES = "nftables"


@pytest.fixture
def probe() -> FakeProbe:
    return FakeProbe()


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> FakePlays:
    fake = FakePlays()
    monkeypatch.setattr(ansible, "play", fake.play)
    return fake


@pytest.fixture
def layer(tmp_path: Path, probe: FakeProbe, plays: FakePlays) -> Iterator[SiteHosts]:
    """Hosts that were all played well."""
    store = open_store(tmp_path / "store.db")
    with hold(store, ONE.name, facility=SMALL.name, command="test") as lease:
        made = SiteHosts(
            facility=SMALL,
            site=ONE,
            state=tmp_path,
            store=store,
            generations={host.name: "g1" for host in ONE.active_hosts},
            baked={"server": hostvars.ROLES, "switch": hostvars.EVERY_HOST},
            lease=lease,
        )
        made.probe = probe
        made.make_secrets()
        assert play(made) == []
        plays.books.clear()
        yield made
    store.close()


def play(layer: SiteHosts) -> list[str]:
    troubles = asyncio.run(layer.play([host.name for host in ONE.active_hosts]))
    return [trouble.error for trouble in troubles]


def seen(layer: SiteHosts) -> list[RoleWork]:
    asyncio.run(layer.look())
    return [work for works in layer.pending().values() for work in works]


def test_clean_hosts_are_looked_at_and_not_played(layer: SiteHosts, probe: FakeProbe) -> None:
    assert seen(layer) == []
    assert sorted(probe.checked) == sorted(host.name for host in ONE.active_hosts)


def test_a_role_that_drifted_is_played_whole_and_the_reason_names_what_drifted(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    probe.changed[ADMIN, SUDOERS, "mode"] = "0666"
    (work,) = seen(layer)
    assert (work.host, work.role, work.verb, work.whole, work.settle) == (ADMIN, "base", "update", True, False)
    assert work.reason == f"is not as it was left: file {SUDOERS}: mode 0666 instead of mode of /etc…"
    plays.heal = probe.changed.clear
    assert play(layer) == []
    assert layer.pending() == {}, "without another look"
    (part,) = plays.books[0].parts
    assert (part.role, part.hosts, part.host_only) == ("base", (ADMIN,), False)
    assert seen(layer) == []


def test_handlers_run_where_they_are_what_puts_it_right(layer: SiteHosts, probe: FakeProbe, plays: FakePlays) -> None:
    probe.changed[STORAGE, RULES, "content"] = "another"
    (work,) = seen(layer)
    assert (work.role, work.settle, work.whole) == ("firewall", True, False)
    plays.heal = probe.changed.clear
    assert play(layer) == []
    assert plays.books[0].variables[STORAGE]["firewall_settle"] is True
    assert seen(layer) == []


def test_strangers_are_put_aside_before_the_play(layer: SiteHosts, probe: FakeProbe) -> None:
    probe.strangers[ADMIN] = [STRANGER]
    (work,) = seen(layer)
    assert (work.role, work.reason) == ("base", f"is not as it was left: {STRANGER} is a stranger")
    assert play(layer) == []
    assert probe.swept == {ADMIN: [STRANGER]}
    assert seen(layer) == []


def test_what_a_play_does_not_put_right_is_told_and_not_taken_for_right(layer: SiteHosts, probe: FakeProbe) -> None:
    probe.changed[ADMIN, "*", "version"] = "another"
    assert [work.role for work in seen(layer)] == ["base"]
    (error,) = play(layer)
    assert error == "role base was played and has not put right: package *: version another instead of version of *"
    assert [work.role for work in seen(layer)] == ["base"], "it is no new truth"


def test_a_host_that_does_not_answer_is_unknown_and_not_played(layer: SiteHosts, probe: FakeProbe) -> None:
    probe.silent.add(ADMIN)
    assert seen(layer) == []
    assert dict(layer.sight.unanswered) == {ADMIN: f"no SSH answer from {ADMIN}"}
    probe.silent.clear()
    probe.changed[ADMIN, "*", "version"] = "another"
    assert play(layer) != [], "it is looked at again before it is left alone"


def test_what_could_not_be_recorded_is_played_again(layer: SiteHosts, probe: FakeProbe, plays: FakePlays) -> None:
    probe.changed[ADMIN, SUDOERS, "mode"] = "0666"
    assert len(seen(layer)) == 1
    probe.silent.add(ADMIN)
    assert play(layer) == [], "the play itself was well"
    probe.silent.clear()
    plays.heal = probe.changed.clear
    assert {work.reason for work in seen(layer)} == {"what it left there was never recorded"}
    assert play(layer) == []
    assert seen(layer) == []


def test_what_an_owner_accepted_is_not_played_until_it_ends_or_becomes_another(
    layer: SiteHosts, probe: FakeProbe
) -> None:
    probe.changed[ADMIN, SUDOERS, "mode"] = "0400"
    given = Acceptance(
        address=f"{ONE.name}/host/{ADMIN}/file:{SUDOERS}",
        reason="a trial",
        by="ana",
        until=datetime.now(UTC) + timedelta(days=1),
        seen={"mode": "0400"},
    )
    accept(layer.store, ONE.name, given)
    assert seen(layer) == []
    (found,) = layer.sight.differences
    assert layer.sight.acceptance(ONE.name, found, now=datetime.now(UTC)) == given
    assert layer.sight.acceptance(ONE.name, found, now=given.until) is None
    probe.changed[ADMIN, SUDOERS, "mode"] = "0666"
    assert [work.role for work in seen(layer)] == ["base"]


def test_since_when_is_remembered_until_it_is_right_again(layer: SiteHosts, probe: FakeProbe) -> None:
    probe.changed[ADMIN, SUDOERS, "mode"] = "0666"
    seen(layer)
    first = layer.sight.since[ADMIN]
    seen(layer)
    assert layer.sight.since[ADMIN] == first
    assert list(first) == [f"file:{SUDOERS}:mode"]
    probe.changed.clear()
    seen(layer)
    assert layer.sight.since[ADMIN] == {}
    assert receipts_under(layer.store, f"{ONE.name}/drift/") == {}


def test_what_a_role_left_on_a_host_that_no_longer_has_it_is_remembered(layer: SiteHosts) -> None:
    hosts = tuple(host.model_copy(update={"groups": ()}) if host.name == STORAGE else host for host in ONE.hosts)
    layer.site = ONE.model_copy(update={"hosts": hosts})
    layer.forget_strangers()
    assert receipt(layer.store, f"{ONE.name}/host/{STORAGE}/role/storage") is None
    kept = receipt(layer.store, f"{ONE.name}/left/{STORAGE}/storage")
    assert kept is not None
    left = Manifest.model_validate(kept.document[sight.MANIFEST]).left
    assert "/usr/libexec/pachon/volumes" in {each.name for each in left}
