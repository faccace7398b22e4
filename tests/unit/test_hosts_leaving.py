"""What roles leave on hosts that no longer have them, or no longer mention: it goes, whatever is killed on the way."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from pachon.errors import RefusedError
from pachon.layers import foreseen as foreseeing
from pachon.layers import leaving, recording, role_trees
from pachon.layers.bounds import Bound
from pachon.layers.hosts import SiteHosts
from pachon.layers.role_effects import Leavings, leavings, units_told
from pachon.model.manifest import Manifest, Subject, expected_gone, unmentioned
from pachon.store.receipts import receipt, receipts_under
from pachon.store.tables import leases
from tests.fake_plays import ONE, FakePlays, FakeProbe, play, seen, stands

ADMIN, STORAGE = "one-adm01", "one-stor01"
SUDOERS = "/etc/sudoers.d/pachon"
VOLUMES = "/etc/pachon/volumes.json"
OLD = "/etc/pachon/old.nft"


class KilledError(BaseException):
    """Stands for a kill: nothing after it is carried out."""


def kill() -> None:
    raise KilledError


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


def without_old_rules(layer: SiteHosts, plays: FakePlays, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of a role leaves a file; then the role does not mention it any more, and is to be played."""

    def more(role: str, *rest: Any, **options: Any) -> Leavings:
        made = leavings(role, *rest, **options)
        own = [Subject(kind="file", name=OLD, owner="Do it", aspects=("mode",))] if role == "firewall" else []
        return dataclasses.replace(made, subjects=[*made.subjects, *own])

    plays.telling["firewall"] = ()
    monkeypatch.setattr(recording, "leavings", more)
    layer.generations = dict.fromkeys(layer.generations, "g2")
    assert play(layer) == []
    monkeypatch.setattr(recording, "leavings", leavings)
    layer.generations = dict.fromkeys(layer.generations, "g3")
    plays.books.clear()


def test_what_a_role_no_longer_mentions_goes_and_its_handlers_take_notice(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_old_rules(layer, plays, monkeypatch)
    assert play(layer) == []
    first, second = plays.books
    assert {part.role for part in second.parts} == {"firewall"}
    assert second.variables[STORAGE]["firewall_settle"] is True
    assert "firewall_settle" not in first.variables[STORAGE]
    assert probe.swept == {host.name: [OLD] for host in ONE.active_hosts}
    assert seen(layer) == []


def test_what_a_sealed_plan_only_plays_removes_nothing_and_says_so(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_old_rules(layer, plays, monkeypatch)
    layer.bound = Bound({work.address: work.given for work in seen(layer)})
    assert set(play(layer)) == {f"file:{OLD} would be taken away, which the plan does not hold"}
    assert layer.refused == {f"{ONE.name}/host/{host.name}" for host in ONE.active_hosts}
    assert (len(plays.books), probe.swept) == (1, {}), "the play itself was planned"
    works = seen(layer)
    assert {work.reason for work in works} == {f"is not as it was left: file {OLD} is left over"}
    removals = {work.address: [f"file:{OLD}"] for work in works}
    layer.bound = Bound({work.address: work.given for work in works}, removals)
    assert (play(layer), seen(layer)) == ([], [])


def test_a_stranger_that_came_after_a_plan_was_sealed_stays_and_is_named(layer: SiteHosts, probe: FakeProbe) -> None:
    probe.strangers[ADMIN] = ["/etc/sudoers.d/mallory"]
    (work,) = seen(layer)
    layer.bound = Bound({work.address: work.given}, {work.address: ["file:/etc/sudoers.d/eve"]})
    assert play(layer) == ["file:/etc/sudoers.d/mallory would be taken away, which the plan does not hold"]
    assert probe.swept == {}
    layer.bound = Bound({work.address: work.given}, deferred=[work.address])
    assert (play(layer), seen(layer)) == ([], [])


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


def test_a_unit_that_one_task_enabled_and_another_started_is_to_be_neither() -> None:
    enabled = Subject(kind="unit", name="a", owner="Do", aspects=("enabled",), values={"enabled": "enabled"})
    started = Subject(kind="unit", name="a", owner="Restart", aspects=("running",), values={"running": "yes"})
    (gone,) = expected_gone({"old": [enabled, started]}, [])
    assert gone.values == {"enabled": "disabled", "running": "no"}
    (over,) = unmentioned(Manifest(), Manifest(subjects=(enabled, started)))
    assert (over.aspects, over.values) == (("enabled", "running"), {"enabled": "enabled", "running": "yes"})


def killed_at(layer: SiteHosts, probe: FakeProbe, point: str) -> None:
    """A run that is killed as a sweep begins, or as it has ended."""
    setattr(probe, point, kill)
    with pytest.raises(KilledError):
        play(layer)
    setattr(probe, point, lambda: None)


@pytest.mark.parametrize("point", ["sweeping", "sweep_ended"])
def test_a_removal_that_was_killed_is_taken_up_and_ended(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, point: str
) -> None:
    without_storage(layer, plays)
    (work,) = seen(layer)
    killed_at(layer, probe, point)
    kept = receipt(layer.store, work.address)
    assert kept is not None and kept.is_intent, "the intent comes before the effect"
    (again,) = seen(layer)
    assert (again.verb, again.address) == ("delete", work.address)
    assert (play(layer), seen(layer)) == ([], [])
    assert receipt(layer.store, work.address) is None


def test_a_removal_that_was_killed_is_settled_where_the_host_has_the_role_again(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    site = layer.site
    without_storage(layer, plays)
    assert len(seen(layer)) == 1
    killed_at(layer, probe, "sweep_ended")
    layer.site = site
    (work,) = seen(layer)
    assert (work.role, work.verb, work.settle) == ("storage", "update", True)


def test_nothing_is_removed_or_forgotten_once_a_later_run_has_the_lease(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    without_storage(layer, plays)
    (work,) = seen(layer)
    with layer.store.transaction() as connection:
        connection.execute(update(leases).values(fencing_token=leases.c.fencing_token + 1))
    with pytest.raises(RefusedError, match="no longer holds the lease"):
        play(layer)
    with pytest.raises(RefusedError, match="no longer holds the lease"):
        layer.forget_strangers()
    assert probe.swept == {}
    assert receipt(layer.store, work.address) is not None


def test_a_host_that_a_later_run_was_at_refuses_a_removal(layer: SiteHosts, probe: FakeProbe, plays: FakePlays) -> None:
    without_storage(layer, plays)
    (work,) = seen(layer)
    assert layer.lease is not None
    probe.tokens[STORAGE] = layer.lease.fencing_token + 1
    with pytest.raises(RefusedError, match="fencing token"):
        play(layer)
    assert receipt(layer.store, work.address) is not None


def test_units_of_a_lost_role_s_handlers_take_notice_also_after_a_kill(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "units_told", lambda role, tasks: {"x.service": "reloaded"} if "Do" in tasks else {})
    without_storage(layer, plays)
    assert len(seen(layer)) == 1
    killed_at(layer, probe, "sweep_ended")
    probe.told.clear()
    assert len(seen(layer)) == 1
    assert play(layer) == []
    assert probe.told == {STORAGE: {"x.service": "reloaded"}}


def test_handlers_tell_units_by_the_tasks_that_notify_them() -> None:
    assert units_told("bastion", ["Hand connections on to SSH of the facility's hosts"]) == {"ssh.service": "reloaded"}
    assert units_told("time_server", ["Answer the facility"]) == {"chrony.service": "restarted"}
    assert units_told("time_server", ["Another"]) == {}
    assert units_told("certificates", ["Have a good certificate"]) == {}, "a command is nobody's unit"
    assert units_told("of long ago", ["Do"]) == {}


def test_a_role_that_misses_what_went_is_played_in_the_same_run(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    without_storage(layer, plays)
    assert [work.verb for work in seen(layer)] == ["delete"]
    probe.sweep_ended = lambda: probe.changed.update({(STORAGE, SUDOERS, "mode"): "0666"})
    plays.heal = probe.changed.clear
    assert play(layer) == []
    (book,) = plays.books
    assert [(part.role, part.hosts) for part in book.parts] == [("base", (STORAGE,))]


LAID = "/etc/pachon/laid.json"


def foresee(monkeypatch: pytest.MonkeyPatch, role: str, *subjects: Subject) -> None:
    """The text of a role says that it lays these down."""
    own = {role: list(subjects)}
    monkeypatch.setattr(foreseeing, "foreseen", lambda of, *rest, **options: own.get(of, []))


def is_killed(layer: SiteHosts, plays: FakePlays) -> None:
    """A run that is killed as its first play begins, which has laid down what it does by then."""
    layer.generations = dict.fromkeys(layer.generations, "g9")
    heal, plays.heal = plays.heal, kill
    with pytest.raises(KilledError):
        play(layer)
    plays.heal = heal


def test_what_a_killed_first_play_laid_down_goes_with_its_role(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = layer.site
    without_storage(layer, plays)
    assert (len(seen(layer)), play(layer)) == (1, [])
    bare, layer.site = layer.site, whole
    unit = Subject(kind="unit", name="laid.service", owner="Do", aspects=("running",))
    ours = Subject(kind="file", name=LAID, owner="Do")
    foresee(monkeypatch, "storage", ours, unit, ours.model_copy(update={"name": "/etc/of-before"}))
    probe.gone.add((STORAGE, LAID))
    probe.changed |= {(STORAGE, "laid.service", "running"): "no", (STORAGE, "laid.service", "enabled"): "enabled"}
    is_killed(layer, plays)
    probe.gone.discard((STORAGE, LAID))
    probe.changed.clear()
    layer.site = bare
    probe.swept.clear()
    assert "storage" not in {work.role for work in seen(layer)}, "another role may be just about to mention it"
    assert play(layer) == []
    assert sorted(probe.swept[STORAGE]) == sorted([LAID, "laid.service"]), "and nothing that was there before"
    assert (seen(layer), layer.played[f"{ONE.name}/host/{STORAGE}/role/storage"]) == ([], "delete")
    assert receipts_under(layer.store, f"{ONE.name}/left/") == {}


def test_what_a_killed_play_laid_down_goes_where_the_text_was_taken_back(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays.telling["firewall"] = ()
    foresee(monkeypatch, "firewall", Subject(kind="file", name=LAID, owner="Do it"))
    probe.gone.add((STORAGE, LAID))
    is_killed(layer, plays)
    probe.gone.clear()
    foresee(monkeypatch, "firewall")
    probe.swept.clear()
    assert seen(layer)
    assert play(layer) == []
    assert (probe.swept, seen(layer)) == ({STORAGE: [LAID]}, [])


def test_what_another_role_lays_down_too_stays_when_a_killed_one_goes(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_storage(layer, plays)
    assert (len(seen(layer)), play(layer)) == (1, [])
    bare, layer.site = layer.site, ONE
    plays.telling["firewall"] = (LAID,)
    foresee(monkeypatch, "storage", Subject(kind="file", name=LAID, owner="Do"))
    probe.gone.add((STORAGE, LAID))
    is_killed(layer, plays)
    probe.gone.clear()
    layer.site = bare
    probe.swept.clear()
    assert seen(layer)
    assert (play(layer), probe.swept.get(STORAGE, []), seen(layer)) == ([], [], [])


def test_a_host_that_cannot_be_asked_before_a_play_has_nothing_foreseen(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    foresee(monkeypatch, "firewall", Subject(kind="file", name=LAID, owner="Do it"))
    probe.silent.add(STORAGE)
    is_killed(layer, plays)
    kept = receipt(layer.store, f"{ONE.name}/host/{STORAGE}/role/firewall")
    assert kept is not None and kept.is_intent and LAID not in str(kept.document)


@pytest.mark.parametrize("killed", [False, True])
def test_what_an_older_text_left_goes_where_a_role_comes_back_to_a_host_that_was_silent(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, *, killed: bool
) -> None:
    site = layer.site
    without_storage(layer, plays)
    probe.silent.add(STORAGE)
    assert seen(layer) == []
    layer.forget_strangers()
    assert list(receipts_under(layer.store, f"{ONE.name}/left/")) == [f"{ONE.name}/left/{STORAGE}/storage"]
    layer.site = site
    plays.telling["storage"] = ()
    assert seen(layer)
    layer.forget_strangers()
    probe.silent.clear()
    assert seen(layer)
    if killed:
        is_killed(layer, plays)
        layer.forget_strangers()
        assert seen(layer)
    assert play(layer) == []
    assert (probe.swept[STORAGE], seen(layer)) == ([VOLUMES], [])
    layer.forget_strangers()
    assert receipts_under(layer.store, f"{ONE.name}/left/") == {}


def test_what_a_host_has_that_would_not_go_is_remembered_for_when_it_is_wanted_again(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays
) -> None:
    without_storage(layer, plays)
    bare = layer.site
    assert layer.lease is not None
    address = f"{ONE.name}/host/{STORAGE}"
    stands(layer.store, layer.lease, address)
    layer.site = ONE.model_copy(update={"hosts": tuple(each for each in ONE.hosts if each.name != STORAGE)})
    layer.forget_strangers()
    layer.site = bare
    assert [each.reason for each in seen(layer)] == [f"the host no longer has the role: file {VOLUMES} is left over"]
    layer.site = ONE.model_copy(update={"hosts": tuple(each for each in ONE.hosts if each.name != STORAGE)})
    stands(layer.store, layer.lease, address, verb="delete")
    layer.forget_strangers()
    assert receipts_under(layer.store, f"{address}/") == {}


def test_a_role_file_that_moves_while_a_plan_is_carried_out_leaves_hosts_alone_with_the_reason(
    layer: SiteHosts, probe: FakeProbe, plays: FakePlays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moves(folder: Path, plugins: object) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(folder / "tasks" / "host.yml"))

    probe.changed[ADMIN, SUDOERS, "mode"] = "0666"
    (work,) = seen(layer)
    layer.bound = Bound({work.address: work.given})
    monkeypatch.setattr(role_trees, "_tree", moves)
    (said,) = play(layer)
    assert said.startswith("whether its roles are as they were planned is not known: texts of roles cannot be read: ")
    assert (plays.books, layer.refused) == ([], {f"{ONE.name}/host/{ADMIN}"})
