"""What hosts are seen to have decides what is played: drift, strangers, silent hosts, and what nobody puts right."""

import asyncio
import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pachon import definition, hostvars
from pachon.drivers import ansible
from pachon.layers import hosts
from pachon.layers.following import document_of
from pachon.layers.hosts import RoleWork, SiteHosts
from pachon.layers.role_effects import Leavings, leavings
from pachon.model.manifest import Subject, expected_gone
from pachon.store.database import open_store
from pachon.store.drift import Acceptance, accept
from pachon.store.lease import hold
from pachon.store.receipts import intend, receipt, receipts_under
from tests.fake_plays import FakePlays, FakeProbe

SMALL = definition.load(Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small")
ONE = SMALL.sites[0]
ADMIN, STORAGE = "one-adm01", "one-stor01"
SUDOERS = "/etc/sudoers.d/pachon"
STRANGER = "/etc/sudoers.d/mallory"
RULES = "nftables"
VOLUMES = "/etc/pachon/volumes.json"
OLD = "/etc/pachon/old.nft"


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
    assert probe.rules == [STORAGE], "a stranger's table is nothing that the handler would see"
    assert seen(layer) == []


def test_strangers_are_put_aside_before_the_play(layer: SiteHosts, probe: FakeProbe) -> None:
    probe.strangers[ADMIN] = [STRANGER]
    (work,) = seen(layer)
    assert (work.role, work.reason) == ("base", f"is not as it was left: {STRANGER} is a stranger")
    assert play(layer) == []
    assert probe.swept == {ADMIN: [STRANGER]}
    assert seen(layer) == []


def test_strangers_of_before_a_play_that_was_killed_go_with_the_next_one(layer: SiteHosts, probe: FakeProbe) -> None:
    probe.strangers[ADMIN] = [STRANGER]
    (work,) = seen(layer)
    assert layer.lease is not None
    assert work.before is not None
    intend(layer.store, layer.lease, [work.address], documents={work.address: document_of(work.before)})
    assert [each.drift for each in seen(layer)] == [()], "nothing is expected of what a killed play may have changed"
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


def without_storage(layer: SiteHosts, plays: FakePlays) -> None:
    """A task of the host's own leaves a file; then the definition takes the host's group away."""
    plays.telling["storage"] = (VOLUMES,)
    layer.generations = dict.fromkeys(layer.generations, "g2")
    assert play(layer) == []
    plays.books.clear()
    others = tuple(host.model_copy(update={"groups": ()}) if host.name == STORAGE else host for host in ONE.hosts)
    layer.site = ONE.model_copy(update={"hosts": others})


def test_what_a_role_left_on_a_host_that_no_longer_has_it_goes(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    without_storage(layer, plays)
    (work,) = seen(layer)
    assert (work.host, work.role, work.verb) == (STORAGE, "storage", "delete")
    assert work.reason == f"the host no longer has the role: file {VOLUMES} is left over"
    layer.forget_strangers()
    assert [each.verb for each in seen(layer)] == ["delete"], "it is remembered until it is done"
    assert play(layer) == []
    assert (plays.books, layer.played) == ([], {**layer.played, work.address: "delete"})
    assert probe.swept == {STORAGE: [VOLUMES]}, "what came with the image stays with it"
    assert seen(layer) == []
    assert receipts_under(layer.store, f"{ONE.name}/left/") == {}
    assert receipt(layer.store, work.address) is None


def test_what_cannot_be_removed_is_said_and_stays_to_be_removed(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    without_storage(layer, plays)
    assert len(seen(layer)) == 1
    probe.stuck.add(VOLUMES)
    assert play(layer) == [f"storage: file {VOLUMES} is left over, and could not be removed"]
    layer.forget_strangers()
    assert [each.verb for each in seen(layer)] == ["delete"]
    probe.stuck.clear()
    assert (play(layer), seen(layer)) == ([], [])


def test_what_went_by_itself_is_forgotten(layer: SiteHosts, probe: FakeProbe, plays: FakePlays) -> None:
    without_storage(layer, plays)
    probe.gone |= {(STORAGE, each.name) for each in seen(layer)[0].drift}
    assert seen(layer) == []
    layer.forget_strangers()
    assert receipts_under(layer.store, f"{ONE.name}/left/") == {}
    probe.gone.clear()
    assert seen(layer) == [], "what somebody makes there later is theirs"


def test_a_host_that_cannot_be_asked_keeps_what_a_role_left_for_later(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    without_storage(layer, plays)
    assert len(seen(layer)) == 1
    probe.silent.add(STORAGE)
    assert play(layer) == [f"no SSH answer from {STORAGE}"]
    layer.forget_strangers()
    probe.silent.clear()
    assert [each.verb for each in seen(layer)] == ["delete"]


def test_what_a_role_no_longer_mentions_goes_and_its_handlers_take_notice(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def more(role: str, *rest: Any, **options: Any) -> Leavings:
        made = leavings(role, *rest, **options)
        own = [Subject(kind="file", name=OLD, owner="Do it", aspects=("mode",))] if role == "firewall" else []
        return dataclasses.replace(made, subjects=[*made.subjects, *own])

    plays.telling["firewall"] = ()
    monkeypatch.setattr(hosts, "leavings", more)
    layer.generations = dict.fromkeys(layer.generations, "g2")
    assert play(layer) == []
    monkeypatch.setattr(hosts, "leavings", leavings)
    layer.generations = dict.fromkeys(layer.generations, "g3")
    plays.books.clear()
    assert play(layer) == []
    first, second = plays.books
    assert {part.role for part in second.parts} == {"firewall"}
    assert second.variables[STORAGE]["firewall_settle"] is True
    assert "firewall_settle" not in first.variables[STORAGE]
    assert probe.swept == {host.name: [OLD] for host in ONE.active_hosts}
    assert seen(layer) == []


def test_what_a_play_does_not_tell_of_is_not_taken_for_left_over(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    plays.telling["base"] = ()  # its tasks say what they leave, but none of those that are baked
    probe.changed[ADMIN, SUDOERS, "mode"] = "0666"
    assert [work.whole for work in seen(layer)] == [True], (
        "its image part is played, and here no task says what it does"
    )
    plays.heal = probe.changed.clear
    assert play(layer) == []
    assert (seen(layer), probe.swept) == ([], {})


def test_what_another_role_mentions_stays(layer: SiteHosts) -> None:
    kept = Subject(kind="file", name="/etc/app/ours", owner="Do")
    old = [kept, Subject(kind="folder", name="/etc/app", owner="Do"), Subject(kind="link", name="/etc/x", owner="Do")]
    assert [each.name for each in expected_gone({"old": old}, [kept])] == ["/etc/x"]
