import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from pachon.errors import PermanentError, RefusedError
from pachon.model.lifecycle import MachineState
from pachon.store.allocations import allocate, allocated
from pachon.store.database import migrate, open_store
from pachon.store.journal import Journal, count_steps, standing
from pachon.store.lease import Lease, acquire, release
from pachon.store.machines import enrol_in, forget, machine, machines_of, move_in, way
from pachon.store.receipts import drop_receipt, put_receipt, receipt
from pachon.store.tables import HEAD, METADATA


def schema(engine: sqlalchemy.Engine) -> dict[str, Any]:
    inspector = sqlalchemy.inspect(engine)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            sorted(str(index["name"]) for index in inspector.get_indexes(table)),
            inspector.get_pk_constraint(table)["constrained_columns"],
        )
        for table in sorted(METADATA.tables)
    }


def test_migrations_lead_to_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/made.db")
    METADATA.create_all(made)
    migrated = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/migrated.db")
    migrate(migrated)
    assert schema(migrated) == schema(made)
    with migrated.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == HEAD


def test_a_store_is_private_and_opens_again_and_one_from_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state" / "store.db"
    open_store(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    store = open_store(path)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(PermanentError, match="migration 9999"):
        open_store(path)


async def fill(journal: Journal, verbs: list[tuple[str, str]]) -> None:
    async def one(address: str, verb: str) -> None:
        step = await journal.intend(
            address, "delete" if verb.startswith("delete") else "create", kind="k", generation="g", inputs={"a": 1}
        )
        if not verb.endswith("!"):
            await journal.finish(step, "failed" if verb.endswith("?") else "done")

    for address, verb in verbs:
        await one(address, verb)


def journal_of(path: Path) -> tuple[Journal, Lease]:
    store = open_store(path)
    lease = acquire(store, "base", facility="f", command="c")
    return Journal(store, site="base", run_id=lease.run_id, fencing_token=lease.fencing_token), lease


def test_what_may_stand_is_all_but_what_was_deleted_well(tmp_path: Path) -> None:
    journal, _ = journal_of(tmp_path / "store.db")
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
    store = open_store(tmp_path / "store.db")
    assert {entry.address: (entry.verb, entry.outcome) for entry in standing(store, "base")} == {
        "made": ("create", "done"),
        "begun": ("create", None),
        "failed": ("create", "failed"),
        "going": ("delete", None),
    }
    assert count_steps(store, "base") == 7
    assert count_steps(store, "base", address="gone") == 2


def test_an_intent_of_an_overtaken_writer_is_refused_before_its_effect(tmp_path: Path) -> None:
    journal, lease = journal_of(tmp_path / "store.db")
    store = open_store(tmp_path / "store.db")
    release(store, lease, "done")
    acquire(store, "base", facility="f", command="newer")
    with pytest.raises(RefusedError, match="no longer holds the lease"):
        asyncio.run(fill(journal, [("late", "create")]))
    journal.close()
    assert count_steps(store, "base") == 0


def test_one_refused_write_does_not_take_its_neighbours_in_the_batch_with_it(tmp_path: Path) -> None:
    journal, _ = journal_of(tmp_path / "store.db")

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


def test_a_machine_goes_through_its_life_by_allowed_steps_only(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
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


def test_receipts_and_allocations_come_back_as_they_were_put(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
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
