import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from pachon import places
from pachon.cli.main import run as command
from pachon.errors import LeaseHeldError, RefusedError, UsageError
from pachon.processes.holder import this_process
from pachon.store.copies import TABLES, back_up, copy_to_file, inspect_backup, restore
from pachon.store.database import Store, open_store
from pachon.store.journal import Journal, standing
from pachon.store.lease import acquire, hold, holder_of, release
from pachon.store.machines import enrol_in
from pachon.store.pruning import prune
from pachon.store.receipts import put_receipt, receipt
from pachon.store.surveying import survey
from pachon.store.tables import leases
from tests import postgres


async def step(journal: Journal, address: str, verb: Any = "create", generation: str = "g") -> None:
    number = await journal.intend(address, verb, kind="k", generation=generation, inputs={"ü": [1, None]})
    await journal.finish(number, "done")


def run_of(store: Store, *steps: tuple[str, ...]) -> str:
    with hold(store, "base", facility="f", command="pachon up") as lease:
        journal = Journal(store, site="base", run_id=lease.run_id, fencing_token=lease.fencing_token)
        for words in steps:
            asyncio.run(step(journal, *words))
        journal.close()
    return lease.run_id


def filled(where: str) -> Store:
    store = open_store(where)
    run = run_of(store, ("base/host/a",), ("base/host/b",))
    put_receipt(store, "base/host/a/role/x", run_id=run, inputs_digest="d", document={"tasks": [1.5, "\0", None]})
    with store.transaction() as connection:
        enrol_in(connection, "S1", site="base", bmc_tls_sha256="a" * 64)
    return store


def contents(store: Store) -> dict[str, list[Any]]:
    with store.snapshot() as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(sqlalchemy.select(table).order_by(*table.primary_key))
            ]
            for table in TABLES
        }


@pytest.fixture
def other(server: postgres.Server, where: str, tmp_path: Path) -> str:
    """A store of the other kind."""
    return str(tmp_path / "other" / "store.db") if "://" in where else server.address(f"other {tmp_path.name}")


def zoned(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def test_a_backup_made_here_is_restored_there_and_work_goes_on(where: str, other: str, tmp_path: Path) -> None:
    store, file = filled(where), tmp_path / "backup.jsonl"
    made = back_up(store, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert made.rows["steps"] == 2
    elsewhere = open_store(other)
    assert restore(elsewhere, file, replace=False) == made
    before, after = contents(store), contents(elsewhere)
    for name in set(before) - {"leases"}:
        assert [tuple(map(zoned, row)) for row in after[name]] == [tuple(map(zoned, row)) for row in before[name]]
    first = before["leases"][0][1]
    run_of(elsewhere, ("base/host/c",))
    assert [entry.address for entry in standing(elsewhere, "base")] == ["base/host/a", "base/host/b", "base/host/c"]
    assert contents(elsewhere)["leases"][0][1] > first, "hosts refuse tokens below those that they have seen"


def test_a_backup_is_of_one_moment_while_a_run_writes(where: str, tmp_path: Path) -> None:
    store = filled(where)
    lease = acquire(store, "base", facility="f", command="a long one")
    with store.transaction() as connection:
        connection.execute(sqlalchemy.text("UPDATE machines SET reason = 'not committed'"))
        made = back_up(store, tmp_path / "backup.jsonl")
    assert "not committed" not in (tmp_path / "backup.jsonl").read_text()
    again = open_store(tmp_path / "again" / "store.db")
    restore(again, tmp_path / "backup.jsonl", replace=False)
    assert holder_of(again, "base") is None, "nobody writes to the copy"
    outcomes = {row[0]: row[8] for row in contents(again)["runs"]}
    assert outcomes[lease.run_id] == "killed"
    assert made.rows["runs"] == 2
    release(store, lease, "done")


def test_a_restore_is_refused_where_somebody_writes_and_where_something_is(where: str, tmp_path: Path) -> None:
    store, file = filled(where), tmp_path / "backup.jsonl"
    back_up(store, file)
    run_of(store, ("base/host/later",))
    before = contents(store)
    with pytest.raises(RefusedError, match=r"not empty: .*2 runs.*; add --replace"):
        restore(store, file, replace=False)
    lease = acquire(store, "base", facility="f", command="pachon up")
    with pytest.raises(LeaseHeldError, match="pachon up"):
        restore(store, file, replace=True)
    release(store, lease, "done")
    assert contents(store)["steps"] == before["steps"]
    dead = {**this_process().model_dump(), "boot_id": "earlier"}
    acquire(store, "base", facility="f", command="pachon up")
    with store.transaction() as connection:
        connection.execute(sqlalchemy.update(leases).values(holder=dead))
    restore(store, file, replace=True)
    assert len(contents(store)["steps"]) == 2


def test_a_backup_that_is_none_or_was_changed_or_is_of_another_version_changes_nothing(
    where: str, tmp_path: Path
) -> None:
    store, file = filled(where), tmp_path / "backup.jsonl"
    back_up(store, file)
    before, lines = contents(store), file.read_bytes().splitlines(keepends=True)

    def refused(content: bytes, kind: type[Exception], match: str) -> None:
        file.write_bytes(content)
        with pytest.raises(kind, match=match):
            restore(store, file, replace=True)

    header = json.loads(lines[0])
    refused(b"", UsageError, "no backup of a store")
    refused(b"SQLite format 3\0", UsageError, "no backup of a store")
    refused(b'{"some": "json"}\n', UsageError, "no backup of a store")
    refused(b"".join(lines[:-1]), UsageError, "cut short")
    refused(b"".join(lines)[:-20], UsageError, "cut short")
    refused(b"".join([*lines[:2], *lines[3:]]), UsageError, "was changed")
    refused(b"".join(lines).replace(b"base/host/a", b"base/host/x"), UsageError, "was changed")
    refused(b"".join([*lines, b"\n"]), UsageError, "was changed")
    later = json.dumps({**header, "migration": "9999"}).encode() + b"\n"
    refused(b"".join([later, *lines[1:]]), RefusedError, "written at migration 9999")
    newer = json.dumps({**header, "version": 2}).encode() + b"\n"
    refused(b"".join([newer, *lines[1:]]), RefusedError, "format 2")
    with pytest.raises(UsageError, match="cannot be read"):
        restore(store, tmp_path / "missing", replace=True)
    assert contents(store) == before


def test_a_damaged_store_is_put_aside_for_its_backup_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path))
    monkeypatch.delenv("PACHON_STORE", raising=False)
    place = Path(places.store(places.state("t-damaged")))
    store = filled(str(place))
    back_up(store, tmp_path / "backup.jsonl")
    store.close()
    words = ["store", "restore", str(tmp_path / "backup.jsonl"), "--facility", "t-damaged"]
    spoilt = b"x" * place.stat().st_size
    place.write_bytes(spoilt)
    assert command(words) == 1
    assert "--replace' puts it aside" in capsys.readouterr().err
    assert place.read_bytes() == spoilt
    assert command([*words, "--replace"]) == 0
    assert "what was damaged is in" in capsys.readouterr().out
    (kept,) = place.parent.glob("store.db.damaged-*/store.db")
    assert kept.read_bytes() == spoilt
    assert len(standing(open_store(place), "base")) == 2


def test_a_backup_takes_the_place_of_no_file_and_leaves_none_that_is_not_whole(where: str, tmp_path: Path) -> None:
    store, file = filled(where), tmp_path / "backup.jsonl"
    file.write_text("dear")
    with pytest.raises(UsageError, match="there already"):
        back_up(store, file)
    with pytest.raises(Exception, match="cannot be written"):
        back_up(store, tmp_path / "no folder" / "backup.jsonl")
    assert file.read_text() == "dear"
    back_up(store, tmp_path / "good.jsonl")
    assert inspect_backup(tmp_path / "good.jsonl").rows["receipts"] == 1
    assert sorted(path.name for path in tmp_path.glob("*.new")) == []


def test_the_copy_for_another_machine_holds_all_of_it_leases_too(where: str, tmp_path: Path) -> None:
    store = filled(where)
    lease = acquire(store, "base", facility="f", command="pachon up")
    copy_to_file(store, tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as copied:
        assert copied.execute("SELECT run_id, released_at FROM leases").fetchall() == [(lease.run_id, None)]
        assert copied.execute("SELECT count(*) FROM steps").fetchone() == (2,)
    copied.close()
    opened = open_store(tmp_path / "copy.db")
    found = receipt(opened, "base/host/a/role/x")
    assert found is not None
    assert found.document == {"tasks": [1.5, "\0", None]}


def test_what_is_pruned_is_nothing_that_later_runs_go_by(where: str) -> None:
    store = open_store(where)
    run_of(store, ("base/a",), ("base/gone",), ("base/old",))
    run_of(store, ("base/gone", "delete"), ("base/a", "update"), ("base/a", "update"))
    run_of(store, ("base/b",), ("base/b", "update"))
    newest = run_of(store, ("base/c",))
    before = standing(store, "base")
    done = prune(store, keep=1)
    assert standing(store, "base") == before
    assert (done.steps, done.runs) == (3, 0), "both of what is gone, and a step in the midst of another's life"
    kept = [(row[3], row[5]) for row in contents(store)["steps"]]
    assert kept == [
        ("base/a", "create"),
        ("base/old", "create"),
        ("base/a", "update"),
        ("base/b", "create"),
        ("base/b", "update"),
        ("base/c", "create"),
    ]
    assert newest in {row[0] for row in contents(store)["runs"]}
    run_of(store, ("base/a", "delete"), ("base/old", "delete"))
    assert prune(store, keep=1).runs == 2
    assert [entry.address for entry in standing(store, "base")] == ["base/b", "base/c"]


def test_a_run_that_is_under_way_is_never_pruned(where: str) -> None:
    store = open_store(where)
    old = acquire(store, "campaign/x", facility="f", command="c")
    run_of(store)
    run_of(store)
    prune(store, keep=1)
    assert old.run_id in {row[0] for row in contents(store)["runs"]}
    assert len(contents(store)["runs"]) == 2


def test_a_survey_says_what_is_there_and_who_writes(where: str) -> None:
    store = filled(where)
    with hold(store, "base", facility="f", command="pachon up"):
        found = survey(store)
    assert (found.kind, found.rows["steps"], found.faults) == (store.kind, 2, ())
    assert [(writer.site, writer.command, writer.dead) for writer in found.writers] == [("base", "pachon up", False)]
    assert found.size_bytes > 0
    assert found.last_run_at is not None
    assert datetime.now(UTC) - found.last_run_at < timedelta(hours=1)
    assert postgres.SECRET not in found.model_dump_json()
