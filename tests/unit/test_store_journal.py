import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy

from pachon.errors import RefusedError
from pachon.model.lifecycle import MachineState
from pachon.store.allocations import allocate, allocated
from pachon.store.database import open_store
from pachon.store.journal import Journal, count_steps, standing
from pachon.store.lease import Lease, acquire, release
from pachon.store.machines import enrol_in, forget, machine, machines_of, move_in, way
from pachon.store.receipts import drop_receipt, put_receipt, receipt, receipts_under


async def fill(journal: Journal, verbs: list[tuple[str, str]]) -> None:
    async def one(address: str, verb: str) -> None:
        step = await journal.intend(
            address, "delete" if verb.startswith("delete") else "create", kind="k", generation="g", inputs={"a": 1}
        )
        if not verb.endswith("!"):
            await journal.finish(step, "failed" if verb.endswith("?") else "done")

    for address, verb in verbs:
        await one(address, verb)


def journal_of(where: str) -> tuple[Journal, Lease]:
    store = open_store(where)
    lease = acquire(store, "base", facility="f", command="c")
    return Journal(store, site="base", run_id=lease.run_id, fencing_token=lease.fencing_token), lease


def test_what_may_stand_is_all_but_what_was_deleted_well(where: str) -> None:
    journal, _ = journal_of(where)
    verbs = [
        ("made", "create"),
        ("begun", "create!"),
        ("failed", "create?"),
        ("gone", "create"),
        ("gone", "delete"),
        ("going", "create"),
        ("going", "delete!"),
    ]
    asyncio.run(fill(journal, verbs))
    journal.close()
    store = open_store(where)
    assert {entry.address: (entry.verb, entry.outcome) for entry in standing(store, "base")} == {
        "made": ("create", "done"),
        "begun": ("create", None),
        "failed": ("create", "failed"),
        "going": ("delete", None),
    }
    assert count_steps(store, "base") == 7
    assert count_steps(store, "base", address="gone") == 2


def test_an_intent_of_an_overtaken_writer_is_refused_before_its_effect(where: str) -> None:
    journal, lease = journal_of(where)
    store = open_store(where)
    release(store, lease, "done")
    acquire(store, "base", facility="f", command="newer")
    with pytest.raises(RefusedError, match="no longer holds the lease"):
        asyncio.run(fill(journal, [("late", "create")]))
    journal.close()
    assert count_steps(store, "base") == 0


def test_one_refused_write_does_not_take_its_neighbours_in_the_batch_with_it(where: str) -> None:
    journal, _ = journal_of(where)

    async def both() -> list[Any]:
        def refuse(connection: sqlalchemy.Connection) -> None:
            enrol_in(connection, "S1", site="base", bmc_tls_sha256="b" * 64)

        def pin(connection: sqlalchemy.Connection) -> None:
            enrol_in(connection, "S1", site="base", bmc_tls_sha256="a" * 64)

        await journal.write(pin)
        intend = journal.intend("x", "create", kind="k", generation="g", inputs={})
        return list(await asyncio.gather(journal.write(refuse), intend, return_exceptions=True))

    refused, step = asyncio.run(both())
    journal.close()
    assert isinstance(refused, RefusedError)
    assert "certificate" in refused.message
    assert step == 1


def test_a_machine_goes_through_its_life_by_allowed_steps_only(where: str) -> None:
    store = open_store(where)
    with store.transaction() as connection:
        enrol_in(connection, "S1", site="base", bmc_tls_sha256="a" * 64)
        move_in(connection, "S1", MachineState.DEPLOYING, address="base/host/x", generation="g")
    record = machine(store, "S1")
    assert record is not None
    assert (record.state, record.address) == (MachineState.DEPLOYING, "base/host/x")
    with store.transaction() as connection:
        move_in(connection, "S1", MachineState.FAILED, reason="no answer")
        move_in(connection, "S1", MachineState.AVAILABLE)
    assert machines_of(store, "base")["S1"].state is MachineState.AVAILABLE
    with pytest.raises(RefusedError, match="by itself"):
        way(MachineState.QUARANTINED, MachineState.ACTIVE)
    forget(store, "S1")
    assert machine(store, "S1") is None


def test_receipts_and_allocations_come_back_as_they_were_put(where: str) -> None:
    store = open_store(where)
    for digest in ("one", "two"):
        put_receipt(store, "base/stack/compute", run_id="r", inputs_digest=digest, document={"hosts": 2})
    found = receipt(store, "base/stack/compute")
    assert found is not None
    assert (found.inputs_digest, found.document) == ("two", {"hosts": 2})
    drop_receipt(store, "base/stack/compute")
    assert receipt(store, "base/stack/compute") is None
    allocate(store, "base", pool="batch", machine_by_host={"h1": "S1", "h2": "S2"})
    allocate(store, "base", pool="batch", machine_by_host={"h1": "S1"})
    assert allocated(store, "base") == {"h1": "S1"}


def test_what_comes_back_is_what_was_put_whichever_database_it_is(where: str) -> None:
    store = open_store(where)
    document = {"ü": [1, 2.5, None, True, "\n\u0000"], "deep": {"empty": {}, "large": 2**60}}
    put_receipt(store, "base/host/a_b", run_id="r", inputs_digest="1", document=document)
    put_receipt(store, "Base/host/a_b", run_id="r", inputs_digest="2")
    put_receipt(store, "base/host/aXb", run_id="r", inputs_digest="3")
    assert set(receipts_under(store, "base/host/a_")) == {"base/host/a_b"}, "neither letters nor signs are patterns"
    found = receipt(store, "base/host/a_b")
    assert found is not None
    assert found.document == document
    assert found.at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - found.at) < timedelta(hours=1), "a moment is kept whatever the zone of a server"


def test_what_stands_is_told_in_one_order_by_every_database(where: str) -> None:
    journal, _ = journal_of(where)
    asyncio.run(
        fill(journal, [(address, "create") for address in ("base/b", "base/A", "base/a-1", "base/a", "base/ä")])
    )
    asyncio.run(failing(journal))
    journal.close()
    store = open_store(where)
    assert [entry.address for entry in standing(store, "base")] == [
        *("base/A", "base/a", "base/a-1", "base/b", "base/nul", "base/ä")
    ]


async def failing(journal: Journal) -> None:
    step = await journal.intend("base/nul", "create", kind="k", generation="g", inputs={})
    await journal.finish(step, "failed", "an engine said \0 and more")
