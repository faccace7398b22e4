import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from pachon import places, timeline
from pachon.cli.main import run as command
from pachon.errors import UsageError
from pachon.events import Recorder
from pachon.processes.holder import this_process
from pachon.progress import Event, silent
from pachon.store.database import Store, open_store
from pachon.store.journal import Journal
from pachon.store.lease import Lease, acquire, hold, note_outcome, release
from pachon.store.runs import find_run, runs_of, step_before, steps_of
from pachon.store.tables import leases, runs

FACILITY = "t-runs"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "states"))
    monkeypatch.delenv("PACHON_STORE", raising=False)
    places.state(FACILITY).mkdir(parents=True)
    return places.state(FACILITY)


def journal_of(store: Store, lease: Lease) -> Journal:
    return Journal(store, site=lease.site, run_id=lease.run_id, fencing_token=lease.fencing_token)


async def steps(journal: Journal, disk: int, *, fails: str = "") -> None:
    inputs = {"disk": {"size_gib": disk}, "flavour": "server"}
    one = await journal.intend("base/host/a", "create", kind="Host", generation="g1", inputs=inputs)
    await journal.finish(one, "done")
    two = await journal.intend("base/host/b", "create", kind="Host", generation="g2", inputs={})
    if fails:
        await journal.finish(two, "failed", fails)


def two_sites(store: Store, state: Path, *, disk: int = 4, fails: str = "") -> None:
    """As ``pachon up`` does it: a lease for each site, one record of events under the name of the first run."""
    with (
        hold(store, "archive", facility=FACILITY, command="pachon up") as first,
        hold(store, "base", facility=FACILITY, command="pachon up") as second,
    ):
        recorder = Recorder(state / "events.jsonl", first.run_id, silent)
        recorder(Event("lab", FACILITY, "started"))
        recorder(Event("compute", "base/host/a", "started"))
        recorder(Event("compute", "base/host/a", "moving", "boots"))
        recorder(Event("compute", "archive/host/z", "done"))
        recorder(Event("compute", "base/host/a", "done", "deployed"))
        recorder(Event("hosts", "base/host/b", "failed", "role x: no room; mend it"))
        recorder(Event("campaign", "base/quantum", "done"))
        journal = journal_of(store, second)
        asyncio.run(steps(journal, disk, fails=fails))
        journal.close()
        if fails:
            recorder.keep_failure("", "no image; bake one")
            recorder.keep_failure("base/host/c", "it is off; switch it on")
            note_outcome(store, second, "partial")
        recorder.close()


def test_runs_are_told_newest_first_with_what_they_changed(where: str, tmp_path: Path) -> None:
    store = open_store(where)
    two_sites(store, tmp_path)
    two_sites(store, tmp_path, fails="no disk; put one in")
    found = runs_of(store)
    assert [run.number for run in found] == [1, 2, 3, 4]
    assert {run.site for run in found[:2]} == {"archive", "base"}
    newest, older = runs_of(store, site="base")
    assert (newest.steps, newest.changes, newest.failed, newest.unfinished, newest.outcome) == (2, 1, 1, 0, "partial")
    assert (older.steps, older.changes, older.failed, older.unfinished) == (2, 1, 0, 1)
    assert newest.process == this_process().process
    assert newest.controller == this_process().machine
    assert newest.took_seconds is not None
    assert newest.took_seconds >= 0
    assert len(runs_of(store, limit=3)) == 3
    assert runs_of(store, site="nowhere") == ()


def test_a_run_is_found_by_number_name_and_either_end_of_its_name(where: str) -> None:
    store = open_store(where)
    with pytest.raises(UsageError, match="no run '1'; 'pachon up' makes the first"):
        find_run(store, "1")
    for site in ("base", "archive"):
        release(store, acquire(store, site, facility="f", command="c", run_id=f"20261128T0000{site}"), "done")
    assert find_run(store, "1").site == "archive"
    assert find_run(store, "2").site == "base"
    assert find_run(store, "20261128T0000base").site == "base"
    assert find_run(store, "chive").site == "archive"
    with pytest.raises(UsageError, match="short for several runs"):
        find_run(store, "20261128")
    for none in ("3", "0", "", "xyz", "ive", "%"):
        with pytest.raises(UsageError, match="there is no run"):
            find_run(store, none)


def test_a_run_without_an_end_runs_or_is_dead_and_a_clock_set_back_hides_how_long_it_took(where: str) -> None:
    store = open_store(where)
    lease = acquire(store, "base", facility="f", command="c")
    assert find_run(store, "1").outcome == "running"
    dead = {**this_process().model_dump(), "boot_id": "earlier"}
    with store.transaction() as connection:
        connection.execute(update(leases).values(holder=dead))
    assert (find_run(store, "1").outcome, find_run(store, "1").took_seconds) == ("dead", None)
    acquire(store, "base", facility="f", command="next")
    assert find_run(store, lease.run_id).outcome == "killed"
    with store.transaction() as connection:
        connection.execute(update(runs).values(ended_at=datetime.now(UTC) - timedelta(days=1)))
    assert find_run(store, lease.run_id).took_seconds is None


def test_the_story_of_a_run_is_of_its_site_and_of_what_concerns_all_of_the_command(where: str, tmp_path: Path) -> None:
    store = open_store(where)
    two_sites(store, tmp_path, fails="no disk; put one in")
    log = tmp_path / "pulumi" / "runs" / "pachon-compute-base" / "logs" / f"{runs_of(store, site='base')[0].id}.log"
    log.parent.mkdir(parents=True)
    log.touch()
    story = timeline.story_of(store, tmp_path, runs_of(store, site="base")[0].id)
    assert story.beside == ("archive",)
    assert [(each.stage, each.address, each.state, each.events) for each in story.timeline] == [
        ("lab", FACILITY, "started", 1),
        ("compute", "base/host/a", "done", 3),
        ("hosts", "base/host/b", "failed", 1),
    ]
    assert [(failure.address, failure.message) for failure in story.failures] == [
        ("the run", "no image; bake one"),
        ("base/host/c", "it is off; switch it on"),
        ("base/host/b", "no disk; put one in"),
    ]
    assert story.logs == (str(log),)
    other = timeline.story_of(store, tmp_path, runs_of(store, site="archive")[0].id)
    assert [each.address for each in other.timeline] == [FACILITY, "archive/host/z"]
    assert other.steps == ()


def test_one_address_is_told_with_what_changed_against_what_stood_there_before(where: str, tmp_path: Path) -> None:
    store = open_store(where)
    two_sites(store, tmp_path)
    two_sites(store, tmp_path, disk=8)
    newest = runs_of(store, site="base")[0]
    told = timeline.step_story_of(store, tmp_path, newest.id, "base/host/a")
    assert told is not None
    assert [(each.name, each.before, each.after) for each in told.changes] == [("disk.size_gib", 4, 8)]
    assert [each.message for each in told.events if each.state == "moving"] == ["boots", "boots"], (
        "one process, two runs"
    )
    assert timeline.step_story_of(store, tmp_path, newest.id, "base/host/none") is None
    first = steps_of(store, runs_of(store, site="base")[1].id)[0]
    assert step_before(store, first) is None


def test_events_of_before_processes_were_recorded_go_by_the_name_of_the_run(where: str, tmp_path: Path) -> None:
    store = open_store(where)
    lease = acquire(store, "base", facility="f", command="c", run_id="old-one")
    event = {
        "at": "2026-11-28T01:50:15.781+00:00",
        "stage": "hosts",
        "address": "base",
        "state": "done",
        "message": "x",
    }
    lines = [{**event, "run": "old-one"}, {**event, "run": "another"}, {**event, "run": "old-one", "state": "odd"}]
    (tmp_path / "events.jsonl.1").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "[1]\n")
    (tmp_path / "events.jsonl").write_text(json.dumps({**event, "run": "old-one", "fraction": None}) + '\n{"at": "202')
    story = timeline.story_of(store, tmp_path, lease.run_id)
    assert [(each.address, each.events) for each in story.timeline] == [("base", 2)]


def test_a_disk_that_is_full_costs_the_record_an_event_and_not_the_run(tmp_path: Path) -> None:
    shown: list[Event] = []
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    recorder = Recorder(tmp_path / "events.jsonl", "r", shown.append)
    recorder(Event("lab", "x", "started"))
    recorder.close()
    assert [event.stage for event in shown] == ["lab"]


def test_people_read_the_list_the_run_and_the_step(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(places.store(state))
    two_sites(store, state, fails="no disk; put one in")
    number = next(run.number for run in runs_of(store) if run.site == "base")
    store.close()
    words = ["--facility", FACILITY]

    def said(*arguments: str, status: int = 0) -> str:
        assert command([*arguments, *words]) == status
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err

    listed = said("runs")
    assert "pachon up" in listed
    assert "1/2" in listed
    assert len(json.loads(said("runs", "base", "--json"))) == 1
    shown = said("run", "show", str(number))
    assert "failed: base/host/b: no disk; put one in" in shown
    assert "deployed" in shown
    assert json.loads(said("run", "show", str(number), "--json"))["run"]["site"] == "base"
    step = said("run", "show", str(number), "--step", "base/host/a")
    assert "disk" in step
    assert "boots" in step
    assert "did you mean base/host/a" in said("run", "show", str(number), "--step", "base/host/aa", status=2)
    assert "there is no run 'zzzz'" in said("run", "show", "zzzz", status=2)
