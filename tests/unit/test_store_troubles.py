"""A store that is full, damaged, empty, half gone or busy: said plainly, and nothing lost."""

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from pachon.errors import LeaseHeldError, PachonError, PermanentError, TemporaryError
from pachon.processes.holder import is_visible, proven_dead, this_process
from pachon.store.database import Store, open_store
from pachon.store.journal import count_steps
from pachon.store.lease import LIFETIME, acquire, heartbeat, holder_of, release
from pachon.store.receipts import put_receipt, receipts_under
from pachon.store.tables import leases

FILLER = """
import asyncio, resource, sys
from pachon.errors import PachonError
from pachon.store.database import open_store
from pachon.store.journal import Journal
from pachon.store.lease import acquire

store = open_store(sys.argv[1])
lease = acquire(store, "base", facility="f", command="c")
journal = Journal(store, site="base", run_id=lease.run_id, fencing_token=lease.fencing_token)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))

async def fill():
    done = 0
    while True:
        try:
            await journal.intend(f"base/{done}", "create", kind="k", generation="g", inputs={"x": "y" * 3000})
        except PachonError as error:
            return done, type(error).__name__, str(error)
        done += 1

print(*asyncio.run(fill()), sep="|")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


def filled(path: Path, number: int = 60) -> Store:
    store = open_store(path)
    for index in range(number):
        put_receipt(store, f"base/{index}", run_id="r", inputs_digest="d", document={"text": f"{index} " * 200})
    return store


def test_a_disk_that_is_full_stops_the_journal_before_the_effect_and_loses_no_step(path: Path) -> None:
    open_store(path).close()
    limit = 250_000
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(path), str(limit)], stdout=subprocess.PIPE, text=True, check=True
    )
    number, kind, said = done.stdout.strip().split("|")
    assert kind == "TemporaryError"
    assert "cannot be written to its disk" in said or "has no room left" in said
    assert "make room on its disk and run again" in said
    store = open_store(path)
    assert count_steps(store, "base") == int(number) > 0, "all that were intended, none besides"
    assert store.faults() == []
    assert acquire(store, "base", facility="f", command="next").took_over, "with room again the next run goes on"


def test_a_database_that_says_it_is_full_is_told_of_as_full(path: Path) -> None:
    store = open_store(path)
    put_receipt(store, "base/before", run_id="r", inputs_digest="d")
    with pytest.raises(TemporaryError, match="has no room left") as caught, store.transaction() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        connection.exec_driver_sql("CREATE TABLE filler AS SELECT zeroblob(100000000) AS content")
    assert "what was committed before stays" in str(caught.value)
    assert set(receipts_under(store, "base/")) == {"base/before"}


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be read as the header of one" * 40])
def test_a_file_that_is_no_store_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(PermanentError, match="is damaged") as caught:
        open_store(path)
    assert "pachon store restore" in caught.value.cure
    assert path.read_bytes() == content


def test_a_store_that_is_gone_while_its_last_writes_are_there_is_not_begun_anew(path: Path) -> None:
    filled(path)
    path.rename(path.with_suffix(".elsewhere"))
    with pytest.raises(PermanentError, match="the file is gone"):
        open_store(path)
    assert not path.exists()


def test_a_new_store_that_was_killed_while_it_was_made_is_made_anew(path: Path) -> None:
    path.parent.mkdir()
    for name in ("store.db.new", "store.db.new-wal"):
        (path.parent / name).write_bytes(b"half")
    open_store(path).close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db", "store.lock"]


def test_a_store_with_damaged_pages_gives_an_error_of_ours_or_what_it_holds(path: Path) -> None:
    store = filled(path)
    whole = receipts_under(store, "base/")
    store.close()
    content, refused = path.read_bytes(), 0
    for seed in range(30):
        chance, spoilt = random.Random(seed), bytearray(content)
        for _ in range(3):
            start = chance.randrange(0, len(content) - 600)
            spoilt[start : start + 600] = chance.randbytes(600)
        path.write_bytes(spoilt)
        try:
            damaged = open_store(path)
        except PachonError as error:
            assert "is damaged" in str(error), seed
            refused += 1
            continue
        try:
            assert receipts_under(damaged, "base/") == whole, seed
        except PachonError as error:
            assert "is damaged" in str(error), seed
            refused += 1
        finally:
            damaged.close()
    assert refused > 10, "most of the file holds something"


def test_clocks_that_jump_neither_free_a_lease_that_is_held_nor_keep_one_that_is_not(where: str) -> None:
    moment = datetime(2026, 11, 28, 12, tzinfo=UTC)
    now = [moment]
    store = open_store(where, clock=lambda: now[0])
    first = acquire(store, "base", facility="f", command="pachon up")
    for jump in (timedelta(days=400), timedelta(days=-400), timedelta(hours=-3)):
        now[0] = moment + jump
        with pytest.raises(LeaseHeldError):
            acquire(store, "base", facility="f", command="second")
        held = holder_of(store, "base")
        assert held is not None
        assert not held.dead, "its process runs, whatever the clock says"
        heartbeat(store, first)
    now[0] = moment - timedelta(days=400)
    release(store, first, "done")
    second = acquire(store, "base", facility="f", command="second")
    assert second.fencing_token == first.fencing_token + 1, "tokens grow where time does not"
    dead = {**this_process().model_dump(), "boot_id": "earlier"}
    with store.transaction() as connection:
        connection.execute(update(leases).values(holder=dead))
    now[0] = moment - timedelta(days=800)
    third = acquire(store, "base", facility="f", command="third")
    assert (third.took_over, third.fencing_token) == (second.run_id, first.fencing_token + 2)


def test_a_holder_that_cannot_be_seen_is_judged_by_the_clock_of_the_store_alone(where: str) -> None:
    store = open_store(where)
    acquire(store, "base", facility="f", command="pachon up")
    elsewhere = {**this_process().model_dump(), "machine": "elsewhere", "boot_id": "other"}
    with store.transaction() as connection:
        now = store.now(connection)
        connection.execute(update(leases).values(holder=elsewhere, expires_at=now + LIFETIME))
    with pytest.raises(LeaseHeldError, match="elsewhere"):
        acquire(store, "base", facility="f", command="second")
    with store.transaction() as connection:
        connection.execute(update(leases).values(expires_at=now - timedelta(seconds=1)))
    assert acquire(store, "base", facility="f", command="second").took_over


def test_two_machines_of_one_name_are_told_apart_and_one_that_was_renamed_is_known() -> None:
    me = this_process()
    twin = me.model_copy(update={"boot_id": "another", "machine_id": "another"})
    assert not is_visible(twin)
    assert not proven_dead(twin), "it may run: it is another machine"
    renamed = me.model_copy(update={"machine": "my-name-of-before"})
    assert is_visible(renamed)
    assert not proven_dead(renamed)
    assert proven_dead(renamed.model_copy(update={"started_ticks": 1}))
