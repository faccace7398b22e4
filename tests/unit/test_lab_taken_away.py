"""A lab whose hardware is taken away with all that was made on it: the record says so, and nothing else is lost."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachon import teardown
from pachon.errors import LeaseHeldError, PermanentError, RefusedError
from pachon.progress import Event, Progress, silent
from pachon.store.database import Store, open_store
from pachon.store.forgetting import forget_hardware
from pachon.store.journal import Journal, Verb, last_steps, standing, unfinished
from pachon.store.lease import Lease, acquire, hold, release
from pachon.store.machines import enrol_in, machine
from pachon.store.receipts import put_receipt, receipt, receipts_under
from pachon.store.runs import runs_of

SITES = ("base", "archive")
PIN = "f" * 64


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    opened = open_store(where)
    yield opened
    opened.close()


def made(store: Store, lease: Lease) -> None:
    """Two resources of the site stand, one of them was begun again, a third one is gone."""
    journal = Journal(store, site=lease.site, run_id=lease.run_id, fencing_token=lease.fencing_token)

    async def write() -> None:
        done: tuple[tuple[str, Verb], ...] = (("one", "create"), ("two", "create"), ("three", "create"))
        for name, verb in (*done, ("three", "delete")):
            step = await journal.intend(f"{lease.site}/host/{name}", verb, kind="host", generation="g", inputs={"a": 1})
            await journal.finish(step, "done")
        await journal.intend(f"{lease.site}/host/two", "update", kind="host", generation="g", inputs={})

    asyncio.run(write())
    journal.close()
    for address in ("stack/compute", "host/one/role/base", "left/one/base"):
        put_receipt(store, f"{lease.site}/{address}", run_id=lease.run_id, inputs_digest="d")
    with store.transaction() as connection:
        enrol_in(connection, f"S-{lease.site}", site=lease.site, bmc_tls_sha256=PIN)


def built(store: Store) -> None:
    for site in SITES:
        with hold(store, site, facility="f", command="pachon up") as lease:
            made(store, lease)


def test_what_stood_at_the_site_is_gone_by_the_journal_and_nothing_is_proven_or_pinned(store: Store) -> None:
    built(store)
    with hold(store, "base", facility="f", command="pachon lab down") as lease:
        assert forget_hardware(store, lease) == 2
        assert forget_hardware(store, lease) == 0
    assert standing(store, "base") == []
    assert unfinished(store, "base", run_id="") == []
    assert last_steps(store, "base")["base/host/two"].run_id == lease.run_id
    assert receipts_under(store, "base/") == {}
    assert machine(store, "S-base") is None
    assert [entry.address for entry in standing(store, "archive")] == ["archive/host/one", "archive/host/two"]
    assert receipt(store, "archive/stack/compute") is not None
    assert machine(store, "S-archive") is not None
    assert len(runs_of(store)) == 3, "what runs did stays"


def test_who_lost_the_lease_forgets_nothing(store: Store) -> None:
    built(store)
    lease = acquire(store, "base", facility="f", command="pachon lab down")
    release(store, lease, "done")
    with pytest.raises(RefusedError):
        forget_hardware(store, lease)
    assert len(standing(store, "base")) == 2


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a facility whose lab stands and carries something at both sites."""
    state = tmp_path / "t-away"
    (state / "lab" / "sites").mkdir(parents=True)
    (state / "pulumi").mkdir()
    for site in SITES:
        (state / "lab" / "sites" / f"{site}.json").touch()
    store = open_store(state / "store.db")
    built(store)
    store.close()

    async def remove(name: str, state: Path, progress: Progress) -> None:
        shutil.rmtree(state / "lab", ignore_errors=True)

    monkeypatch.setattr(teardown, "remove_hardware", remove)
    return state


def take_away(state: Path, progress: Progress = silent) -> None:
    teardown.take_hardware_away("t-away", state=state, command="pachon lab down", progress=progress)


def test_the_hardware_goes_with_all_that_is_remembered_of_it(state: Path) -> None:
    told: list[Event] = []
    take_away(state, told.append)
    assert "4 resources went with the hardware" in told[0].message
    assert not (state / "lab").exists()
    assert not (state / "pulumi").exists()
    store = open_store(state / "store.db")
    assert [standing(store, site) for site in SITES] == [[], []]
    with hold(store, "base", facility="f", command="pachon up") as lease:
        made(store, lease)
    take_away(state)
    assert len(standing(store, "base")) == 2, "where no lab stands nothing is forgotten"
    store.close()


def test_while_somebody_writes_nothing_is_taken_away(state: Path) -> None:
    store = open_store(state / "store.db")
    with hold(store, "archive", facility="f", command="pachon up"), pytest.raises(LeaseHeldError, match="pachon up"):
        take_away(state)
    assert len(standing(store, "base")) == 2
    store.close()
    assert (state / "lab").exists()
    assert (state / "pulumi").exists()


def test_a_damaged_record_does_not_keep_the_hardware_and_is_told(state: Path) -> None:
    (state / "store.db").write_bytes(b"no database" * 999)
    with pytest.raises(PermanentError, match="store"):
        take_away(state)
    assert not (state / "lab").exists()
