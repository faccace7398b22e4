"""What hosts are seen to have decides what is played: drift, strangers, silent hosts, and what nobody puts right."""

from datetime import UTC, datetime, timedelta

import pytest

from pachon.layers.following import document_of
from pachon.layers.hosts import SiteHosts
from pachon.store.drift import Acceptance, accept
from pachon.store.receipts import intend, receipt, receipts_under
from tests.fake_plays import ONE, FakePlays, FakeProbe, play, seen

ADMIN, STORAGE = "one-adm01", "one-stor01"
SUDOERS = "/etc/sudoers.d/pachon"
STRANGER = "/etc/sudoers.d/mallory"
RULES = "nftables"
VOLUMES = "/etc/pachon/volumes.json"
OLD = "/etc/pachon/old.nft"


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


@pytest.mark.parametrize("generation", ["g1", "g2"])
def test_a_stranger_that_cannot_be_put_aside_is_told(layer: SiteHosts, probe: FakeProbe, generation: str) -> None:
    probe.strangers[ADMIN] = [STRANGER]
    probe.stuck.add(STRANGER)
    layer.generations = dict.fromkeys(layer.generations, generation)
    assert seen(layer)
    assert play(layer) == [f"role base was played and has not put right: {STRANGER} is a stranger"]
    assert [work.role for work in seen(layer)] == ["base"]


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


def test_nothing_is_a_stranger_while_a_role_of_the_host_may_be_about_to_mention_it(
    layer: SiteHosts, probe: FakeProbe
) -> None:
    assert layer.lease is not None
    people = f"{ONE.name}/host/{ADMIN}/role/people"
    kept = receipt(layer.store, people)
    assert kept is not None
    intend(layer.store, layer.lease, [people], documents={people: kept.document})
    probe.strangers[ADMIN] = [STRANGER]
    assert [(work.role, work.drift) for work in seen(layer)] == [("people", ())]
    assert play(layer) == []
    assert probe.swept == {ADMIN: [STRANGER]}, "once all were played well it is looked at again"
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
